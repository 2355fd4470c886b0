//! Lines of text that survive a restart: the newest few hundred, in a ring of sectors of flash.
//!
//! Lines are appended to the sector in use. When it is full the next one, which has the oldest lines, is
//! erased and begun: one sector at a time, since nothing else runs on a chip meanwhile. All others keep
//! theirs, and the sectors wear evenly. To forget all lines
//! a mark is appended, which costs no erase as long as it fits. A power cut at any moment costs at most the line under way,
//! and while a sector is being erased, what it had.
//!
//! A sector starts with a header: magic, generation, erases so far, where the lines start that are not
//! forgotten, CRC. Generations count the sectors begun, so each has its place in the ring. Records follow: CRC over what
//! comes then, kind, length of the text, two zeros, the text filled up to whole words.

use core::{fmt, ops::Range};

use embassy_sync::{blocking_mutex::raw::CriticalSectionRawMutex, mutex::Mutex};
use embedded_storage_async::nor_flash::NorFlash;

use crate::storage::checksum;

/// Bytes of the longest line.
pub const MAX_TEXT: usize = 144;

/// Everything in flash stands at multiples of this, a multiple of all boards' smallest write.
const WORD: usize = 4;
/// Of `MTL1`, which had one header for half of the range, nothing is read.
const MAGIC: [u8; WORD] = *b"MTL2";
const HEADER: usize = 6 * WORD;
/// Where the records start.
const RECORDS: u32 = HEADER as u32;
/// A record without its text.
const HEAD: usize = 2 * WORD;
const MAX_RECORD: usize = HEAD + MAX_TEXT;
/// How often a line is written before the flash is called worn out.
const ATTEMPTS: u32 = 3;

/// A journal that several tasks use.
pub type Shared<'j, F> = Mutex<CriticalSectionRawMutex, &'j mut Journal<F>>;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A line.
    Line,
    /// Nothing before it counts any more.
    Clear,
}

impl Kind {
    const fn letter(self) -> u8 {
        match self {
            Self::Line => b'l',
            Self::Clear => b'c',
        }
    }

    fn of(letter: u8) -> Option<Self> {
        [Self::Line, Self::Clear]
            .into_iter()
            .find(|kind| kind.letter() == letter)
    }
}

/// The header of a sector.
#[derive(Debug, Clone, Copy)]
struct Begun {
    /// Counts the sectors begun, from 1.
    generation: u32,
    /// Erases of all sectors until then.
    erases: u32,
    /// The first place that counted then. The mark that says so may go while what is before it is still
    /// there, when an erase is cut off.
    start: Place,
}

impl Begun {
    fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let (body, crc) = bytes.split_at_mut(5 * WORD);
        let words = [
            MAGIC,
            self.generation.to_le_bytes(),
            self.erases.to_le_bytes(),
            self.start.generation.to_le_bytes(),
            self.start.offset.to_le_bytes(),
        ];
        body.copy_from_slice(words.as_flattened());
        crc.copy_from_slice(&checksum(body).to_le_bytes());
        bytes
    }
}

/// A place between two lines, in the order in which they were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    generation: u32,
    /// Offset in its sector; before [`RECORDS`] nobody has looked whose header that has.
    offset: u32,
}

impl Place {
    /// Where a generation starts.
    const fn start(generation: u32) -> Self {
        Self {
            generation,
            offset: 0,
        }
    }
}

/// How far somebody has read, and how far the lines went when that began.
#[derive(Debug, Clone)]
pub struct Cursor {
    at: Place,
    end: Place,
}

/// A record whose CRC is right.
#[derive(Clone, Copy)]
struct Record {
    kind: Kind,
    /// Bytes of its text.
    length: usize,
    /// Offset behind it.
    end: u32,
}

/// Lines in a range of flash.
///
/// RAM: one buffer of 152 bytes and 7 words beside the flash driver itself.
pub struct Journal<F> {
    flash: F,
    range: Range<u32>,
    /// Of the sector that is written to; 0 before the first.
    generation: u32,
    /// Offset in it from which all is blank.
    free: u32,
    erases: u32,
    /// The first place that counts.
    start: Place,
    buffer: Buffer,
}

/// The flash drivers of some chips move whole, aligned words only.
#[repr(align(4))]
struct Buffer([u8; MAX_RECORD]);

impl<F: NorFlash> Journal<F> {
    const SECTOR: u32 = F::ERASE_SIZE as u32;

    /// Opens what is kept in `range` of `flash`: two whole sectors or more.
    ///
    /// # Errors
    /// [`Error::Range`], [`Error::Flash`].
    pub async fn open(flash: F, range: Range<u32>) -> Result<Self, Error<F::Error>> {
        const {
            assert!(WORD.is_multiple_of(F::WRITE_SIZE) && WORD.is_multiple_of(F::READ_SIZE));
        }
        if !range.start.is_multiple_of(Self::SECTOR)
            || !(range.len() as u32).is_multiple_of(Self::SECTOR)
            || range.len() < 2 * F::ERASE_SIZE
            || range.end as usize > flash.capacity()
            || F::ERASE_SIZE < HEADER + MAX_RECORD
        {
            return Err(Error::Range);
        }
        let mut journal = Self {
            flash,
            range,
            generation: 0,
            // As if the one before the first were full.
            free: Self::SECTOR,
            erases: 0,
            start: Place::start(0),
            buffer: Buffer([0; MAX_RECORD]),
        };
        for sector in 0..journal.sectors() {
            if let Some(begun) = journal.begun(sector).await?
                && begun.generation > journal.generation
                && journal.sector(begun.generation) == sector
            {
                journal.generation = begun.generation;
                journal.erases = begun.erases;
                journal.start = begun.start;
            }
        }
        if journal.generation > 0 {
            journal.free = journal.used(journal.generation).await?;
        }
        if let Some(oldest @ 1..) = (journal.generation + 1).checked_sub(journal.sectors())
            && !journal.is_begun(oldest).await?
        {
            // It was in use: a power cut has ended an erase that no header has counted.
            journal.erases = journal.erases.saturating_add(1);
        }
        let mut cursor = journal.cursor();
        while let Some(record) = journal.step(&mut cursor).await? {
            if record.kind == Kind::Clear {
                journal.start = cursor.at;
            }
        }
        Ok(journal)
    }

    /// How often a sector was erased, all together, in the life of this journal. One that a power cut
    /// ended is counted once, however often it was tried.
    pub fn erases(&self) -> u32 {
        self.erases
    }

    /// The flash itself.
    pub fn flash(&mut self) -> &mut F {
        &mut self.flash
    }

    /// Gives the flash back.
    pub fn into_flash(self) -> F {
        self.flash
    }

    /// Appends a line.
    ///
    /// # Errors
    /// [`Error::TooLong`], [`Error::WornOut`] and [`Error::Flash`]. The lines before it stay.
    ///
    /// # Cancellation Safety
    /// Dropping the future is as harmless as a power cut.
    pub async fn append(&mut self, line: &str) -> Result<(), Error<F::Error>> {
        if line.len() > MAX_TEXT {
            return Err(Error::TooLong(line.len()));
        }
        self.put(Kind::Line, line.as_bytes()).await
    }

    /// Forgets all lines. Where there are none nothing is written.
    ///
    /// # Errors
    /// [`Error::WornOut`] and [`Error::Flash`]. All lines stay, or none.
    pub async fn clear(&mut self) -> Result<(), Error<F::Error>> {
        if self.next(&mut self.cursor()).await?.is_none() {
            return Ok(());
        }
        self.put(Kind::Clear, &[]).await?;
        self.start = self.end();
        Ok(())
    }

    /// Reads from the oldest line to the one that is the newest now.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            at: self.start,
            end: self.end(),
        }
    }

    /// The next line. What was erased or forgotten since the last one is passed over.
    ///
    /// # Errors
    /// [`Error::Flash`].
    pub async fn next(&mut self, cursor: &mut Cursor) -> Result<Option<&str>, Error<F::Error>> {
        while let Some(record) = self.step(cursor).await? {
            if record.kind == Kind::Line {
                let text = self.buffer.0.get(HEAD..HEAD + record.length);
                // What has its CRC was a line once.
                return Ok(text.and_then(|text| core::str::from_utf8(text).ok()));
            }
        }
        Ok(None)
    }

    /// The next record, loaded into the buffer.
    async fn step(&mut self, cursor: &mut Cursor) -> Result<Option<Record>, Error<F::Error>> {
        loop {
            let oldest = (self.generation + 1).saturating_sub(self.sectors()).max(1);
            cursor.at = cursor.at.max(self.start).max(Place::start(oldest));
            if cursor.at >= cursor.end {
                return Ok(None);
            }
            let generation = cursor.at.generation;
            let last = generation == cursor.end.generation;
            let limit = if last {
                cursor.end.offset
            } else {
                Self::SECTOR
            };
            if cursor.at.offset >= RECORDS || self.is_begun(generation).await? {
                let from = cursor.at.offset.max(RECORDS);
                if let Some(record) = self.find(generation, from, limit).await? {
                    cursor.at.offset = record.end;
                    return Ok(Some(record));
                }
            }
            cursor.at = Place::start(generation + 1);
        }
    }

    /// The first record at or behind `offset`, loaded into the buffer.
    ///
    /// What is no record, cut off or damaged, is passed word by word.
    async fn find(
        &mut self,
        generation: u32,
        mut offset: u32,
        limit: u32,
    ) -> Result<Option<Record>, Error<F::Error>> {
        let start = self.address(self.sector(generation));
        while offset + HEAD as u32 <= limit {
            self.read(start + offset, HEAD).await?;
            let [_, _, _, _, letter, length, ..] = self.buffer.0;
            let length = usize::from(length);
            let size = record_size(length);
            if let Some(kind) = Kind::of(letter)
                && length <= MAX_TEXT
                && offset + size as u32 <= limit
            {
                self.read(start + offset, size).await?;
                if self.buffer.0[..WORD] == self.crc(length) {
                    let end = offset + size as u32;
                    return Ok(Some(Record { kind, length, end }));
                }
            }
            offset += WORD as u32;
        }
        Ok(None)
    }

    async fn put(&mut self, kind: Kind, text: &[u8]) -> Result<(), Error<F::Error>> {
        let size = record_size(text.len());
        for _ in 0..ATTEMPTS {
            if self.free + size as u32 > Self::SECTOR {
                self.begin(self.generation + 1).await?;
            }
            let address = self.address(self.sector(self.generation)) + self.free;
            // First, so that a write that fails half-way is never written over.
            self.free += size as u32;
            self.buffer.0 = [0; MAX_RECORD];
            self.buffer.0[WORD..HEAD].copy_from_slice(&[kind.letter(), text.len() as u8, 0, 0]);
            self.buffer.0[HEAD..HEAD + text.len()].copy_from_slice(text);
            let crc = self.crc(text.len());
            self.buffer.0[..WORD].copy_from_slice(&crc);
            if self.write(address, size).await? {
                return Ok(());
            }
        }
        Err(Error::WornOut)
    }

    /// Erases the sector of a generation and makes it the one in use.
    async fn begin(&mut self, generation: u32) -> Result<(), Error<F::Error>> {
        let address = self.address(self.sector(generation));
        if self.used(generation).await? > 0 {
            self.erases = self.erases.saturating_add(1);
            let erased = self.flash.erase(address, address + Self::SECTOR).await;
            erased.map_err(Error::Flash)?;
        }
        let begun = Begun {
            generation,
            erases: self.erases,
            start: self.start,
        };
        self.buffer.0[..HEADER].copy_from_slice(&begun.to_bytes());
        if !self.write(address, HEADER).await? {
            return Err(Error::WornOut);
        }
        self.generation = generation;
        self.free = RECORDS;
        Ok(())
    }

    /// Whether the sector of a generation is that generation's.
    async fn is_begun(&mut self, generation: u32) -> Result<bool, Error<F::Error>> {
        let begun = self.begun(self.sector(generation)).await?;
        Ok(begun.is_some_and(|begun| begun.generation == generation))
    }

    /// The header of a sector, when it has one.
    async fn begun(&mut self, sector: u32) -> Result<Option<Begun>, Error<F::Error>> {
        self.read(self.address(sector), HEADER).await?;
        let mut words = self.buffer.0.as_chunks().0.iter().skip(1);
        let mut word = || words.next().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let begun = Begun {
            generation: word(),
            erases: word(),
            start: Place {
                generation: word(),
                offset: word(),
            },
        };
        let valid = self.buffer.0[..HEADER] == begun.to_bytes();
        // No sector in use has the last number: it could not be followed by another.
        Ok((valid && begun.generation < u32::MAX).then_some(begun))
    }

    /// Offset from which the sector of a generation is blank.
    async fn used(&mut self, generation: u32) -> Result<u32, Error<F::Error>> {
        let address = self.address(self.sector(generation));
        let mut end = Self::SECTOR;
        while end > 0 {
            let length = (end as usize).min(MAX_RECORD);
            let start = end - length as u32;
            self.read(address + start, length).await?;
            let bytes = &self.buffer.0[..length];
            if let Some(last) = bytes.iter().rposition(|&byte| byte != 0xFF) {
                return Ok(start + (last + 1).next_multiple_of(WORD) as u32);
            }
            end = start;
        }
        Ok(0)
    }

    fn end(&self) -> Place {
        Place {
            generation: self.generation,
            offset: self.free,
        }
    }

    fn sectors(&self) -> u32 {
        self.range.len() as u32 / Self::SECTOR
    }

    /// Where a generation has its place in the ring.
    fn sector(&self, generation: u32) -> u32 {
        generation.wrapping_sub(1) % self.sectors()
    }

    fn address(&self, sector: u32) -> u32 {
        self.range.start + sector * Self::SECTOR
    }

    /// The CRC that belongs to the record in the buffer.
    fn crc(&self, length: usize) -> [u8; WORD] {
        checksum(&self.buffer.0[WORD..HEAD + length]).to_le_bytes()
    }

    async fn read(&mut self, address: u32, length: usize) -> Result<(), Error<F::Error>> {
        self.flash
            .read(address, &mut self.buffer.0[..length])
            .await
            .map_err(Error::Flash)
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

/// Bytes that a record takes.
const fn record_size(length: usize) -> usize {
    HEAD + length.next_multiple_of(WORD)
}

/// Why a line was not read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error<E> {
    /// The range is not two or more whole sectors inside the flash.
    Range,
    /// The line has this many bytes, more than [`MAX_TEXT`].
    TooLong(usize),
    /// The flash does not keep what is written to it.
    WornOut,
    /// The flash driver reports an error.
    Flash(E),
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range => f.write_str("log: give it two or more whole sectors inside the flash"),
            Self::TooLong(length) => write!(
                f,
                "log: {length} bytes are too long; a line has at most {MAX_TEXT}"
            ),
            Self::WornOut => f.write_str("log: the flash keeps no data; replace the module"),
            Self::Flash(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for Error<E> {}
