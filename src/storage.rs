//! What survives a restart: small values under typed keys, in a few sectors of flash.
//!
//! Values are appended to the sector in use. When it is full, the newest of each key move to the
//! next sector, whose header is written last and makes it the one in use; so the sectors wear
//! evenly, and a sector is erased only when nothing in it is needed. A power cut at any moment
//! leaves each key with its old or its new value, whatever the cut has made of the words or of the
//! sector under way, which the data sheets leave undefined. Values that are put together are all old or
//! all new.
//!
//! A sector starts with two copies of a header: magic, generation, CRC. Records follow: kind, number
//! and length of the value, CRC over these and the value, the value filled up to whole words. Values that
//! were put together are a chain: a record whose length has the highest bit set counts only when another
//! follows it without a gap, and counts itself.

use core::fmt;
use core::ops::Range;

use crc::{CRC_32_ISCSI, Crc};
use embassy_sync::{blocking_mutex::raw::CriticalSectionRawMutex, mutex::Mutex};
use embedded_storage_async::nor_flash::NorFlash;

/// Longest value in bytes.
pub const MAX_VALUE: usize = 64;

/// Everything in flash stands at multiples of this, a multiple of all boards' smallest write.
const WORD: usize = 4;
/// In a record's length: it counts with the next one only.
const MORE: u8 = 0x80;
const MAGIC: [u8; WORD] = *b"MTS1";
const HEADER: usize = 3 * WORD;
/// Where the records start.
const RECORDS: u32 = 2 * HEADER as u32;
/// A record without its value.
const HEAD: usize = 2 * WORD;
const MAX_RECORD: usize = HEAD + MAX_VALUE;
/// What is read at once when a sector is looked through: several records mostly, and one piece of the chip's driver.
const WINDOW: usize = 16 * WORD;
/// So many keys are followed on one way through a sector.
const FOLLOWED: usize = 16;
/// So many values can be put together: which of them differ is a bit of each.
const TOGETHER: usize = u32::BITS as usize;
/// How often a value is written before the flash is called worn out.
const ATTEMPTS: u32 = 3;

static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// The CRC of what is stored, for whoever wants to tell texts apart.
pub fn checksum(bytes: &[u8]) -> u32 {
    CRC.checksum(bytes)
}

/// A value on its way into the store.
pub type Value = heapless::Vec<u8, MAX_VALUE>;

/// What a value is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// The meter's time of the last published value of an M-Bus device, by its place among the kinds
    /// of devices.
    Stamp(u8),
    /// Fingerprint of the last published text of a metric, by the fingerprint of its name.
    Text(u16),
    /// A setting, by its number.
    Setting(u8),
    /// The factors of the command protocol.
    Calibration,
    /// Hour and minute of the daily restart.
    DailyRestart,
    /// The energy of each phase.
    Energy,
    /// All that a user has set is to be forgotten, and may be so in part already.
    Reset,
    /// The device's name.
    Name,
    /// The name of a Wi-Fi network, by its place; without it there is no network there.
    Ssid(u8),
    /// The password of a Wi-Fi network, by its place; none for an open one.
    WifiPassword(u8),
    /// What was found out of the P1 port.
    Detected,
}

impl Key {
    /// The form in flash: a letter for the kind, then the number. A letter once used keeps its
    /// meaning for ever.
    fn to_bytes(self) -> [u8; 3] {
        match self {
            Self::Stamp(device) => [b's', device, 0],
            Self::Text(name) => {
                let [low, high] = name.to_le_bytes();
                [b't', low, high]
            }
            Self::Setting(number) => [b'c', number, 0],
            Self::Calibration => [b'k', 0, 0],
            Self::DailyRestart => [b'd', 0, 0],
            Self::Energy => [b'e', 0, 0],
            Self::Reset => [b'r', 0, 0],
            Self::Name => [b'n', 0, 0],
            Self::Ssid(place) => [b'w', place, 0],
            Self::WifiPassword(place) => [b'p', place, 0],
            Self::Detected => [b'l', 0, 0],
        }
    }

    /// The key of such bytes; `None` for one of a later version.
    fn from_bytes(bytes: [u8; 3]) -> Option<Self> {
        match bytes {
            [b's', device, 0] => Some(Self::Stamp(device)),
            [b't', low, high] => Some(Self::Text(u16::from_le_bytes([low, high]))),
            [b'c', number, 0] => Some(Self::Setting(number)),
            [b'k', 0, 0] => Some(Self::Calibration),
            [b'd', 0, 0] => Some(Self::DailyRestart),
            [b'e', 0, 0] => Some(Self::Energy),
            [b'r', 0, 0] => Some(Self::Reset),
            [b'n', 0, 0] => Some(Self::Name),
            [b'w', place, 0] => Some(Self::Ssid(place)),
            [b'p', place, 0] => Some(Self::WifiPassword(place)),
            [b'l', 0, 0] => Some(Self::Detected),
            _ => None,
        }
    }
}

/// A store that several tasks use.
pub type Shared<'s, F> = Mutex<CriticalSectionRawMutex, &'s mut Store<F>>;

/// What [`Store::put`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The value was there already; the flash was not touched.
    Unchanged,
    /// The value is in flash.
    Written,
}

/// What [`Store::open`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// Erased flash: the first start.
    Blank,
    /// Values, possibly none.
    Values,
    /// Something else, or damaged beyond use. The first value put erases it.
    Unreadable,
}

/// Values under keys in a range of flash.
///
/// RAM: one buffer of 72 bytes and seven words beside the flash driver itself. No value is cached: a
/// `get` reads through the sector in use, so keep hot values in RAM.
pub struct Store<F> {
    flash: F,
    range: Range<u32>,
    /// Address of the sector in use.
    active: Option<u32>,
    generation: u32,
    /// Offset in the sector in use from which all is blank.
    free: u32,
    /// The three above may not agree with the flash: a move to another sector was broken off.
    stale: bool,
    contents: Contents,
    buffer: Buffer,
    /// Addresses whose bytes are in the buffer: none where a record is put together in it.
    window: Range<u32>,
}

/// The flash drivers of some chips move whole, aligned words only.
#[repr(align(4))]
struct Buffer([u8; MAX_RECORD]);

/// Keys that are followed through a sector in their own order, each with the place of its newest record.
type Followed = heapless::Vec<([u8; 3], u32), FOLLOWED>;

/// A record whose CRC is right.
#[derive(Clone, Copy)]
struct Record {
    /// Offset in its sector.
    offset: u32,
    key: [u8; 3],
    /// Length of the value.
    length: usize,
    /// It counts with the next one only.
    more: bool,
}

impl Record {
    fn size(length: usize) -> usize {
        HEAD + length.next_multiple_of(WORD)
    }

    fn end(self) -> u32 {
        self.offset + Self::size(self.length) as u32
    }
}

impl<F: NorFlash> Store<F> {
    const SECTOR: u32 = {
        assert!(WORD.is_multiple_of(F::WRITE_SIZE) && WORD.is_multiple_of(F::READ_SIZE));
        assert!(F::ERASE_SIZE <= 1 << 16);
        F::ERASE_SIZE as u32
    };

    /// Opens what is kept in `range` of `flash`: whole sectors, two at least.
    ///
    /// All values together have to fit into one sector less 24 bytes, with 8 bytes more for each.
    ///
    /// # Errors
    /// [`Error::Range`], [`Error::Flash`].
    pub async fn open(flash: F, range: Range<u32>) -> Result<Self, Error<F::Error>> {
        let whole = |address: u32| address.is_multiple_of(Self::SECTOR);
        if !(whole(range.start) && whole(range.end))
            || range.end as usize > flash.capacity()
            || range.len() < 2 * F::ERASE_SIZE
            || F::ERASE_SIZE < RECORDS as usize + MAX_RECORD
        {
            return Err(Error::Range);
        }
        let mut store = Self {
            flash,
            range,
            active: None,
            generation: 0,
            free: 0,
            stale: true,
            contents: Contents::Blank,
            buffer: Buffer([0; MAX_RECORD]),
            window: 0..0,
        };
        store.contents = store.scan().await?;
        Ok(store)
    }

    /// Finds the sector in use.
    async fn scan(&mut self) -> Result<Contents, Error<F::Error>> {
        let mut contents = Contents::Blank;
        self.active = None;
        self.generation = 0;
        for sector in self.range.clone().step_by(F::ERASE_SIZE) {
            if let Some(generation) = self.generation_of(sector).await? {
                if self.active.is_none() || generation > self.generation {
                    self.active = Some(sector);
                    self.generation = generation;
                }
                contents = Contents::Values;
            } else if contents == Contents::Blank && self.used(sector).await? > 0 {
                contents = Contents::Unreadable;
            }
        }
        if let Some(sector) = self.active {
            let used = self.used(sector).await?;
            // The end of a value may look blank.
            self.free = Self::SECTOR;
            let mut offset = RECORDS;
            let mut is_chain = false;
            while let Some(record) = self.record(sector, offset).await? {
                offset = record.end();
                is_chain = record.more;
            }
            if is_chain {
                // What is put next must not take the place of what the chain has lost.
                offset += WORD as u32;
            }
            self.free = offset.max(used).min(Self::SECTOR);
        }
        self.stale = false;
        Ok(contents)
    }

    /// What was found when the store was opened.
    pub fn contents(&self) -> Contents {
        self.contents
    }

    /// The flash itself.
    pub fn flash(&mut self) -> &mut F {
        self.window = 0..0;
        &mut self.flash
    }

    /// Gives the flash back.
    pub fn into_flash(self) -> F {
        self.flash
    }

    /// Copies the value of `key` to the start of `buffer` and returns it, `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Flash`]; [`Error::Buffer`] when the value is longer than `buffer`.
    pub async fn get<'b>(
        &mut self,
        key: Key,
        buffer: &'b mut [u8],
    ) -> Result<Option<&'b [u8]>, Error<F::Error>> {
        let value = self.fetch(key.to_bytes()).await?;
        if value.is_empty() {
            return Ok(None);
        }
        let target = buffer
            .get_mut(..value.len())
            .ok_or(Error::Buffer(value.len()))?;
        target.copy_from_slice(value);
        Ok(Some(target))
    }

    /// Makes `value` the value of `key`; writes only when it differs.
    ///
    /// An empty value is the same as none.
    ///
    /// # Errors
    /// [`Error::TooLong`], [`Error::Full`], [`Error::WornOut`] and [`Error::Flash`]. The old value
    /// stays, or after the last two possibly the new one.
    ///
    /// # Cancellation Safety
    /// Dropping the future is as harmless as a power cut.
    pub async fn put(&mut self, key: Key, value: &[u8]) -> Result<Put, Error<F::Error>> {
        if value.len() > MAX_VALUE {
            return Err(Error::TooLong(value.len()));
        }
        if self.fetch(key.to_bytes()).await? == value {
            return Ok(Put::Unchanged);
        }
        let mut value = |_| Value::from_slice(value).unwrap_or_default();
        self.replace(&[key], &mut value, 1).await
    }

    /// Makes the value of each of `keys`, 32 at most and none of them twice, what `value` says: of all of them,
    /// or of none, at whatever moment the power is cut. Writes only those that differ.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::WornOut`] and [`Error::Flash`]. The old values stay, or after the last two
    /// possibly the new ones, all of them.
    ///
    /// # Cancellation Safety
    /// Dropping the future is as harmless as a power cut.
    // No value is held while the flash is waited for.
    pub async fn put_all(
        &mut self,
        keys: &[Key],
        value: &mut dyn FnMut(Key) -> Value,
    ) -> Result<Put, Error<F::Error>> {
        match self.differing(keys, value).await? {
            0 => Ok(Put::Unchanged),
            differing => self.replace(keys, value, differing).await,
        }
    }

    /// Which of these have another value now, a bit for each. One way through the sector, however many they are: each takes a chip
    /// milliseconds.
    async fn differing(
        &mut self,
        keys: &[Key],
        value: &mut dyn FnMut(Key) -> Value,
    ) -> Result<u32, Error<F::Error>> {
        if keys.len() > TOGETHER {
            return Err(Error::Full);
        }
        if self.stale {
            self.scan().await?;
        }
        // Where the newest record of each is; 0, where a sector has its header, is none.
        let mut newest = [0u16; TOGETHER];
        if let Some(sector) = self.active {
            let mut offset = RECORDS;
            while let Some(record) = self.next(sector, offset).await? {
                let place = keys.iter().position(|key| key.to_bytes() == record.key);
                if let Some(newest) = place.and_then(|place| newest.get_mut(place)) {
                    *newest = record.offset as u16;
                }
                offset = record.end();
            }
        }
        let mut differing = 0;
        for (place, (key, offset)) in keys.iter().zip(newest).enumerate() {
            let kept = match self.active {
                Some(sector) if offset > 0 => self.kept(sector, offset.into()).await?,
                _ => None,
            };
            let is_same = match (self.active, kept) {
                (Some(sector), Some(record)) => self.value(sector, record).await? == value(*key),
                _ => value(*key).is_empty(),
            };
            differing |= u32::from(!is_same) << place;
        }
        Ok(differing)
    }

    /// Writes those values of which `differing` has a bit, one at least.
    async fn replace(
        &mut self,
        keys: &[Key],
        value: &mut dyn FnMut(Key) -> Value,
        differing: u32,
    ) -> Result<Put, Error<F::Error>> {
        let (mut size, mut last) = (0, None);
        for key in those(keys, differing) {
            size += Record::size(value(key).len()) as u32;
            last = Some(key);
        }
        let Some(last) = last else {
            return Ok(Put::Unchanged);
        };
        for _ in 0..ATTEMPTS {
            let Some(sector) = self.active else { break };
            let end = self.free + size;
            if end > Self::SECTOR {
                break;
            }
            let address = sector + self.free;
            // First, so that a write that fails half-way is never written over, and with a gap, so that
            // what is put next does not complete its chain.
            self.free = (end + WORD as u32).min(Self::SECTOR);
            if self
                .append(address, those(keys, differing), value, last)
                .await?
            {
                self.free = end;
                return Ok(Put::Written);
            }
        }
        self.move_on(keys, value).await?;
        Ok(Put::Written)
    }

    /// Writes these values, up to that of `last`, as a chain; `false` when the flash has kept
    /// something else.
    async fn append(
        &mut self,
        mut address: u32,
        keys: impl Iterator<Item = Key>,
        value: &mut dyn FnMut(Key) -> Value,
        last: Key,
    ) -> Result<bool, Error<F::Error>> {
        for key in keys {
            let size = self.compose(key, &value(key), key != last);
            if !self.write(address, size).await? {
                return Ok(false);
            }
            address += size as u32;
        }
        Ok(true)
    }

    /// Forgets the value of `key`.
    ///
    /// # Errors
    /// As for [`put`](Self::put): a removal is a write too.
    pub async fn remove(&mut self, key: Key) -> Result<Put, Error<F::Error>> {
        self.put(key, &[]).await
    }

    /// Shows every value to `see`, older ones of a key before its newest; an empty one is none.
    ///
    /// # Errors
    /// [`Error::Flash`].
    pub async fn each(&mut self, mut see: impl FnMut(Key, &[u8])) -> Result<(), Error<F::Error>> {
        if self.stale {
            self.scan().await?;
        }
        let Some(sector) = self.active else {
            return Ok(());
        };
        let mut offset = RECORDS;
        while let Some(record) = self.next(sector, offset).await? {
            if let Some(key) = Key::from_bytes(record.key) {
                see(key, self.value(sector, record).await?);
            }
            offset = record.end();
        }
        Ok(())
    }

    /// The value of `key`, empty when there is none.
    async fn fetch(&mut self, key: [u8; 3]) -> Result<&[u8], Error<F::Error>> {
        if self.stale {
            self.scan().await?;
        }
        let Some(sector) = self.active else {
            return Ok(&[]);
        };
        let mut newest = None;
        let mut offset = RECORDS;
        while let Some(record) = self.next(sector, offset).await? {
            if record.key == key {
                newest = Some(record);
            }
            offset = record.end();
        }
        match newest {
            Some(record) => self.value(sector, record).await,
            None => Ok(&[]),
        }
    }

    async fn value(&mut self, sector: u32, record: Record) -> Result<&[u8], Error<F::Error>> {
        let size = Record::size(record.length);
        let bytes = self.view(sector + record.offset, size).await?;
        Ok(&bytes[HEAD..HEAD + record.length])
    }

    /// The next record at or behind `offset` that counts.
    async fn next(
        &mut self,
        sector: u32,
        mut offset: u32,
    ) -> Result<Option<Record>, Error<F::Error>> {
        while let Some(record) = self.record(sector, offset).await? {
            let mut last = record;
            while last.more
                && let Some(next) = self.record(sector, last.end()).await?
                && next.offset == last.end()
            {
                last = next;
            }
            if !last.more {
                return Ok(Some(record));
            }
            offset = record.end();
        }
        Ok(None)
    }

    /// The next record at or behind `offset`, whether it counts or not.
    ///
    /// What is no record, cut off or damaged, is passed word by word.
    async fn record(
        &mut self,
        sector: u32,
        mut offset: u32,
    ) -> Result<Option<Record>, Error<F::Error>> {
        while offset + HEAD as u32 <= self.free {
            let head = self.view(sector + offset, HEAD).await?;
            let record = Record {
                offset,
                key: [head[0], head[1], head[2]],
                length: (head[WORD - 1] & !MORE).into(),
                more: head[WORD - 1] & MORE != 0,
            };
            if record.length <= MAX_VALUE && record.end() <= Self::SECTOR {
                let size = Record::size(record.length);
                let bytes = self.view(sector + offset, size).await?;
                if bytes[WORD..HEAD] == record_crc(bytes, record.length) {
                    return Ok(Some(record));
                }
            }
            offset += WORD as u32;
        }
        Ok(None)
    }

    /// The next keys behind `floor` that have a record, in their own order, with their newest ones. Those of `except`
    /// get new values.
    ///
    /// Following few keys at a time costs a way through the sector for each few; looking behind each record for a
    /// newer one would cost a way for each.
    async fn follow(
        &mut self,
        sector: u32,
        floor: Option<[u8; 3]>,
        except: &[Key],
    ) -> Result<Followed, Error<F::Error>> {
        let mut followed = Followed::new();
        let mut offset = RECORDS;
        while let Some(record) = self.next(sector, offset).await? {
            offset = record.end();
            let is_old = except.iter().any(|key| key.to_bytes() == record.key);
            if is_old || floor.is_some_and(|floor| record.key <= floor) {
                continue;
            }
            match followed.binary_search_by_key(&record.key, |(key, _)| *key) {
                Ok(place) => followed[place].1 = record.offset,
                Err(place) if place < FOLLOWED => {
                    if followed.is_full() {
                        followed.pop();
                    }
                    // There is room now.
                    let _ = followed.insert(place, (record.key, record.offset));
                }
                Err(_) => {}
            }
        }
        Ok(followed)
    }

    /// The record at `offset`, unless it says that there is none of its key.
    async fn kept(&mut self, sector: u32, offset: u32) -> Result<Option<Record>, Error<F::Error>> {
        let record = self.record(sector, offset).await?;
        Ok(record.filter(|record| record.offset == offset && record.length > 0))
    }

    /// Moves the newest values and the new ones to another sector.
    async fn move_on(
        &mut self,
        keys: &[Key],
        value: &mut dyn FnMut(Key) -> Value,
    ) -> Result<(), Error<F::Error>> {
        let new = keys.iter().map(|key| Record::size(value(*key).len()));
        let mut size = RECORDS as usize + new.sum::<usize>();
        if let Some(sector) = self.active {
            let mut floor = None;
            loop {
                let followed = self.follow(sector, floor, keys).await?;
                floor = last_of_many(&followed);
                for (_, offset) in &followed {
                    let kept = self.kept(sector, *offset).await?;
                    size += kept.map_or(0, |record| Record::size(record.length));
                }
                if floor.is_none() {
                    break;
                }
            }
        }
        if size > F::ERASE_SIZE {
            return Err(Error::Full);
        }
        let behind = match self.active {
            Some(sector) => sector + Self::SECTOR,
            None => self.range.start,
        };
        let sectors = (behind..self.range.end)
            .chain(self.range.start..behind)
            .step_by(F::ERASE_SIZE);
        for target in sectors {
            if Some(target) != self.active && self.fill(target, keys, value).await? {
                return Ok(());
            }
        }
        Err(Error::WornOut)
    }

    /// Makes `target` the sector in use; `false` when it does not keep what is written.
    async fn fill(
        &mut self,
        target: u32,
        keys: &[Key],
        value: &mut dyn FnMut(Key) -> Value,
    ) -> Result<bool, Error<F::Error>> {
        if self.used(target).await? > 0 {
            self.window = 0..0;
            self.flash
                .erase(target, target + Self::SECTOR)
                .await
                .map_err(Error::Flash)?;
        }
        let mut to = RECORDS;
        if let Some(sector) = self.active {
            let mut floor = None;
            loop {
                let followed = self.follow(sector, floor, keys).await?;
                floor = last_of_many(&followed);
                for (_, offset) in &followed {
                    let Some(record) = self.kept(sector, *offset).await? else {
                        continue;
                    };
                    self.read(sector + offset, Record::size(record.length))
                        .await?;
                    // The header is what makes them count here.
                    let size = self.seal(record.length, false);
                    if !self.write(target + to, size).await? {
                        return Ok(false);
                    }
                    to += size as u32;
                }
                if floor.is_none() {
                    break;
                }
            }
        }
        for key in keys {
            if value(*key).is_empty() {
                continue;
            }
            let size = self.compose(*key, &value(*key), false);
            if !self.write(target + to, size).await? {
                return Ok(false);
            }
            to += size as u32;
        }
        let generation = self.generation.wrapping_add(1);
        let header = header(generation);
        // Broken off from here on, only the flash can tell which sector is in use.
        self.stale = true;
        let mut written = false;
        for copy in 0..2 {
            self.window = 0..0;
            self.buffer.0[..HEADER].copy_from_slice(&header);
            let address = target + copy * HEADER as u32;
            written |= self.write(address, HEADER).await?;
        }
        self.stale = false;
        if !written {
            return Ok(false);
        }
        self.active = Some(target);
        self.generation = generation;
        self.free = to;
        Ok(true)
    }

    /// The generation of a sector, `None` when it was not completed.
    async fn generation_of(&mut self, sector: u32) -> Result<Option<u32>, Error<F::Error>> {
        for copy in 0..2 {
            self.read(sector + copy * HEADER as u32, HEADER).await?;
            let [_, _, _, _, g0, g1, g2, g3, ..] = self.buffer.0;
            let generation = u32::from_le_bytes([g0, g1, g2, g3]);
            if self.buffer.0[..HEADER] == header(generation) {
                return Ok(Some(generation));
            }
        }
        Ok(None)
    }

    /// Offset from which a sector is blank.
    async fn used(&mut self, sector: u32) -> Result<u32, Error<F::Error>> {
        let mut end = Self::SECTOR;
        while end > 0 {
            let length = (end as usize).min(MAX_RECORD);
            let start = end - length as u32;
            self.read(sector + start, length).await?;
            let bytes = &self.buffer.0[..length];
            if let Some(last) = bytes.iter().rposition(|&byte| byte != 0xFF) {
                return Ok(start + (last + 1).next_multiple_of(WORD) as u32);
            }
            end = start;
        }
        Ok(0)
    }

    /// Puts a record into the buffer, and returns its size.
    fn compose(&mut self, key: Key, value: &[u8], more: bool) -> usize {
        self.window = 0..0;
        self.buffer.0 = [0; MAX_RECORD];
        self.buffer.0[..WORD - 1].copy_from_slice(&key.to_bytes());
        self.buffer.0[HEAD..HEAD + value.len()].copy_from_slice(value);
        self.seal(value.len(), more)
    }

    /// Writes length and CRC of the record in the buffer, and returns its size.
    fn seal(&mut self, length: usize, more: bool) -> usize {
        self.window = 0..0;
        self.buffer.0[WORD - 1] = length as u8 | if more { MORE } else { 0 };
        let crc = record_crc(&self.buffer.0, length);
        self.buffer.0[WORD..HEAD].copy_from_slice(&crc);
        Record::size(length)
    }

    /// Bytes of the flash that the buffer can hold, read with what follows them unless they are there.
    async fn view(&mut self, address: u32, length: usize) -> Result<&[u8], Error<F::Error>> {
        let end = address + length as u32;
        if address < self.window.start || end > self.window.end {
            let rest = (self.range.end - address) as usize;
            self.read(address, length.max(WINDOW.min(rest))).await?;
        }
        let start = (address - self.window.start) as usize;
        Ok(&self.buffer.0[start..start + length])
    }

    /// Reads to the start of the buffer.
    async fn read(&mut self, address: u32, length: usize) -> Result<(), Error<F::Error>> {
        self.window = 0..0;
        self.flash
            .read(address, &mut self.buffer.0[..length])
            .await
            .map_err(Error::Flash)?;
        self.window = address..address + length as u32;
        Ok(())
    }

    /// Writes the start of the buffer; `false` when the flash has kept something else.
    async fn write(&mut self, address: u32, length: usize) -> Result<bool, Error<F::Error>> {
        self.flash
            .write(address, &self.buffer.0[..length])
            .await
            .map_err(Error::Flash)?;
        let mut found = Buffer([0; MAX_RECORD]);
        let found = &mut found.0[..length];
        self.flash
            .read(address, found)
            .await
            .map_err(Error::Flash)?;
        Ok(*found == self.buffer.0[..length])
    }
}

/// Those keys of which `chosen` has a bit.
fn those(keys: &[Key], chosen: u32) -> impl Iterator<Item = Key> {
    let keys = keys.iter().enumerate();
    keys.filter_map(move |(place, key)| (chosen >> place & 1 == 1).then_some(*key))
}

/// The last of these keys if more may follow.
fn last_of_many(followed: &Followed) -> Option<[u8; 3]> {
    let last = followed.last().filter(|_| followed.is_full());
    last.map(|(key, _)| *key)
}

/// The CRC that belongs to a record.
fn record_crc(record: &[u8], length: usize) -> [u8; WORD] {
    let mut digest = CRC.digest();
    digest.update(&record[..WORD]);
    digest.update(&record[HEAD..HEAD + length]);
    digest.finalize().to_le_bytes()
}

fn header(generation: u32) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let (body, crc) = header.split_at_mut(2 * WORD);
    body[..WORD].copy_from_slice(&MAGIC);
    body[WORD..].copy_from_slice(&generation.to_le_bytes());
    crc.copy_from_slice(&checksum(body).to_le_bytes());
    header
}

/// Why a value was not read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error<E> {
    /// The range is not two or more whole sectors inside the flash.
    Range,
    /// The value has this many bytes, more than [`MAX_VALUE`].
    TooLong(usize),
    /// The caller's buffer is too small for the value, which has this many bytes.
    Buffer(usize),
    /// The values of all keys together fill a sector.
    Full,
    /// The flash does not keep what is written to it.
    WornOut,
    /// The flash driver reports an error.
    Flash(E),
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range => {
                f.write_str("storage: give it two or more whole sectors inside the flash")
            }
            Self::TooLong(length) => write!(
                f,
                "storage: {length} bytes are too long; a value has at most {MAX_VALUE}"
            ),
            Self::Buffer(length) => {
                write!(f, "storage: the value needs a buffer of {length} bytes")
            }
            Self::Full => f.write_str("storage: a sector is full; remove values"),
            Self::WornOut => f.write_str("storage: the flash keeps no data; replace the module"),
            Self::Flash(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for Error<E> {}
