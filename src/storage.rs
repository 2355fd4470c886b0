//! What survives a restart: small values under typed keys, in a few sectors of flash.
//!
//! A value is appended to the newest sector and the sectors are used in turn, so the wear is spread.
//! A power cut at any moment leaves each key with its old or its new value.

use core::fmt;
use core::ops::Range;

use embedded_storage_async::nor_flash::NorFlash;
use sequential_storage::cache::{Cache, Uncached};
use sequential_storage::map::{MapConfig, MapStorage};

/// Longest value in bytes.
pub const MAX_VALUE: usize = 64;
const KEY: usize = 3;
/// Key and value, rounded up to words of the flash (4 bytes on all boards, 32 at most).
const BUFFER: usize = (KEY + MAX_VALUE).next_multiple_of(32);

/// What a value is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// The meter's time of the last published value of an M-Bus device, by its type (EN 13757-3
    /// device type).
    Stamp(u8),
    /// Fingerprint of the last published text of a metric, by its row in the table.
    Text(u16),
}

impl Key {
    /// The form in flash: a letter for the kind, then the number. A letter once used keeps its
    /// meaning for ever.
    fn to_bytes(self) -> [u8; KEY] {
        match self {
            Self::Stamp(device) => [b's', device, 0],
            Self::Text(row) => {
                let [low, high] = row.to_le_bytes();
                [b't', low, high]
            }
        }
    }
}

/// What [`Store::put`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The value was there already; the flash was not touched.
    Unchanged,
    /// The value is in flash.
    Written,
}

/// Values under keys in a range of flash.
///
/// RAM: two buffers of 96 bytes beside the flash driver itself. Nothing is cached: a `get` reads the
/// headers of the sectors in use, so keep hot values in RAM.
///
/// Contents that cannot be repaired (never written by this firmware, a worn-out sector) are erased
/// rather than left to block the device, and [`erasures`](Store::erasures) counts it.
pub struct Store<F: NorFlash> {
    map: MapStorage<[u8; KEY], F, NoCache>,
    buffer: Buffer,
    wanted: Buffer,
    erasures: u32,
}

/// The flash drivers of some chips move whole words only.
#[repr(align(4))]
struct Buffer([u8; BUFFER]);

/// How often a value is written before the flash is called worn out.
const ATTEMPTS: u32 = 4;

type NoCache = Cache<Uncached, Uncached, Uncached, [u8; KEY]>;
type FlashError<F> = sequential_storage::Error<F>;

/// Answer of the map once corruption is dealt with.
enum Outcome<T> {
    Done(T),
    Erased,
}

impl<F: NorFlash> Store<F> {
    /// Opens what is kept in `range` of `flash`: whole sectors, two at least.
    ///
    /// One sector is always kept free, and all values together have to fit into one, with 8 bytes
    /// more for each.
    ///
    /// # Errors
    /// [`Error::Range`], [`Error::Flash`].
    pub async fn open(flash: F, range: Range<u32>) -> Result<Self, Error<F::Error>> {
        if range.is_empty() || range.end as usize > flash.capacity() {
            return Err(Error::Range);
        }
        let config = MapConfig::try_new(range).map_err(|_| Error::Range)?;
        let mut store = Self {
            map: MapStorage::new(flash, config, Cache::new_uncached()),
            buffer: Buffer([0; BUFFER]),
            wanted: Buffer([0; BUFFER]),
            erasures: 0,
        };
        if !store.holds_a_value().await? && !store.is_blank().await? {
            store.erase().await?;
        }
        Ok(store)
    }

    /// How often everything was lost because the contents could not be repaired, since the start.
    pub fn erasures(&self) -> u32 {
        self.erasures
    }

    /// The flash itself.
    pub fn flash(&mut self) -> &mut F {
        self.map.flash()
    }

    /// Gives the flash back.
    pub fn into_flash(self) -> F {
        self.map.destroy().0
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
        let Some(length) = self.fetch(key).await? else {
            return Ok(None);
        };
        let target = buffer.get_mut(..length).ok_or(Error::Buffer(length))?;
        target.copy_from_slice(&self.wanted.0[..length]);
        Ok(Some(target))
    }

    /// Makes `value` the value of `key`; writes only when it differs.
    ///
    /// An empty value is the same as none.
    ///
    /// # Errors
    /// [`Error::TooLong`], [`Error::Full`] and [`Error::Flash`]. The old value stays, or after
    /// [`Error::Flash`] possibly the new one.
    pub async fn put(&mut self, key: Key, value: &[u8]) -> Result<Put, Error<F::Error>> {
        if value.len() > MAX_VALUE {
            return Err(Error::TooLong(value.len()));
        }
        if self.holds(key, value).await? {
            return Ok(Put::Unchanged);
        }
        for _ in 0..ATTEMPTS {
            let result = self
                .map
                .store_item(&mut self.buffer.0, &key.to_bytes(), &value)
                .await;
            // An erased store is tried again, and so is a word that kept something else: the map
            // goes on behind it.
            if let Outcome::Done(()) = self.settle(result).await?
                && self.holds(key, value).await?
            {
                return Ok(Put::Written);
            }
        }
        Err(Error::WornOut)
    }

    /// Forgets the value of `key`.
    ///
    /// # Errors
    /// As for [`put`](Self::put): a removal is a write too.
    pub async fn remove(&mut self, key: Key) -> Result<Put, Error<F::Error>> {
        self.put(key, &[]).await
    }

    /// Whether `value` is the value of `key`.
    async fn holds(&mut self, key: Key, value: &[u8]) -> Result<bool, Error<F::Error>> {
        let length = self.fetch(key).await?.unwrap_or(0);
        Ok(self.wanted.0.get(..length) == Some(value))
    }

    /// Reads the value of `key` into `wanted` and returns its length, `None` when empty or absent.
    async fn fetch(&mut self, key: Key) -> Result<Option<usize>, Error<F::Error>> {
        let result = self
            .map
            .fetch_item::<&[u8]>(&mut self.buffer.0, &key.to_bytes())
            .await
            .map(|value| match value {
                Some(value) => match self.wanted.0.get_mut(..value.len()) {
                    Some(target) => {
                        target.copy_from_slice(value);
                        value.len()
                    }
                    None => 0,
                },
                None => 0,
            });
        Ok(match self.settle(result).await? {
            Outcome::Done(0) | Outcome::Erased => None,
            Outcome::Done(length) => Some(length),
        })
    }

    /// Sorts the map's errors; erases what it could not repair.
    async fn settle<T>(
        &mut self,
        result: Result<T, FlashError<F::Error>>,
    ) -> Result<Outcome<T>, Error<F::Error>> {
        match result {
            Ok(value) => Ok(Outcome::Done(value)),
            Err(FlashError::Storage { value, .. }) => Err(Error::Flash(value)),
            Err(FlashError::FullStorage | FlashError::ItemTooBig) => Err(Error::Full),
            // The rest says that the map cannot make sense of the contents: no value put here has
            // these lengths or lacks a key.
            Err(_) => {
                self.erase().await?;
                Ok(Outcome::Erased)
            }
        }
    }

    /// Starts anew with nothing.
    async fn erase(&mut self) -> Result<(), Error<F::Error>> {
        self.erasures = self.erasures.saturating_add(1);
        match self.map.erase_all().await {
            Ok(()) => Ok(()),
            Err(FlashError::Storage { value, .. }) => Err(Error::Flash(value)),
            Err(_) => Err(Error::WornOut),
        }
    }

    /// Whether one value at least can be read.
    async fn holds_a_value(&mut self) -> Result<bool, Error<F::Error>> {
        // Going through all values does not repair first, as reading one does.
        if self.fetch(Key::Stamp(0)).await?.is_some() {
            return Ok(true);
        }
        let result = match self.map.fetch_all_items(&mut self.buffer.0).await {
            Ok(mut values) => values
                .next::<&[u8]>(&mut self.wanted.0)
                .await
                .map(|value| value.is_some()),
            Err(error) => Err(error),
        };
        match self.settle(result).await? {
            Outcome::Done(found) => Ok(found),
            Outcome::Erased => Ok(false),
        }
    }

    /// Whether every byte is erased.
    async fn is_blank(&mut self) -> Result<bool, Error<F::Error>> {
        let mut range = self.map.flash_range();
        while !range.is_empty() {
            let length = range.len().min(BUFFER);
            let bytes = &mut self.buffer.0[..length];
            let flash = self.map.flash();
            flash.read(range.start, bytes).await.map_err(Error::Flash)?;
            if bytes.iter().any(|&byte| byte != 0xFF) {
                return Ok(false);
            }
            range.start += length as u32;
        }
        Ok(true)
    }
}

/// Why a value was not read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error<E> {
    /// The range is no two or more whole sectors inside the flash.
    Range,
    /// The value has this many bytes, more than [`MAX_VALUE`].
    TooLong(usize),
    /// The caller's buffer is too small for the value, which has this many bytes.
    Buffer(usize),
    /// The values of all keys together fill the flash.
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
            Self::Full => f.write_str("storage: the flash is full; give it more or larger sectors"),
            Self::WornOut => f.write_str("storage: the flash keeps no data; replace the module"),
            Self::Flash(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for Error<E> {}
