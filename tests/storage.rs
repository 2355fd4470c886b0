//! Persisted state: what survives a power cut, a full flash, damage and a restart.

use std::collections::BTreeMap;

use embassy_futures::block_on;
use embedded_storage_async::nor_flash::NorFlash;
use metertrekker::soc::host::flash::{FileFlash, SECTOR};
use metertrekker::soc::host::ram_flash::{Error as FlashError, RamFlash, TornErase};
use metertrekker::storage::{Contents, Error, Key, MAX_VALUE, Put, Store};

/// Newest value per key, empty when removed.
type Model = BTreeMap<u8, Vec<u8>>;

const KEYS: u8 = 4;

fn key(number: u8) -> Key {
    match number {
        0 | 1 => Key::Stamp(number),
        // Two rows that differ in the high byte only.
        _ => Key::Text(7 + u16::from(number) * 256),
    }
}

/// The value of step `n`: lengths that are and are not whole words, now and then a removal.
fn value(n: u32) -> Vec<u8> {
    let length = [16, 16, 5, 16, 0, 13, 1, 16][n as usize % 8];
    (0..length as u32).map(|i| (n * 31 + i) as u8).collect()
}

fn store<F: NorFlash>(flash: F) -> Store<F> {
    let capacity = flash.capacity() as u32;
    block_on(Store::open(flash, 0..capacity)).expect("the whole flash is a valid range")
}

fn get<F: NorFlash>(store: &mut Store<F>, key: Key) -> Vec<u8> {
    let mut buffer = [0; MAX_VALUE];
    let value = block_on(store.get(key, &mut buffer)).expect("reading works");
    value.unwrap_or_default().to_vec()
}

fn check<F: NorFlash>(store: &mut Store<F>, model: &Model, context: &str) {
    for (&number, value) in model {
        assert_eq!(&get(store, key(number)), value, "key {number}, {context}");
    }
}

/// Which steps of the script are cut off.
#[derive(Clone, Copy, PartialEq)]
enum Steps {
    All,
    /// Those that move to another sector.
    Moves,
}

/// For each step of a script: cut the power after every `stride`th byte that the step writes or
/// erases, re-open, check all keys, then go on and check again.
fn cut_everywhere<const BYTES: usize, const SECTORS: usize>(
    steps: u32,
    which: Steps,
    stride: usize,
    rotations: u32,
    torn_erase: TornErase,
) {
    let mut newest = Model::new();
    let mut flash = RamFlash::<BYTES, SECTORS>::new();
    flash.set_torn_erase(torn_erase);
    for step in 0..steps {
        let number = (step * 7 % 11) as u8 % KEYS;
        let new = value(step);

        let mut uncut = store(flash.clone());
        let before = flash.bytes_written();
        block_on(uncut.put(key(number), &new)).expect("an uncut put works");
        let uncut = uncut.into_flash();
        let bytes = uncut.bytes_written() - before;

        let is_move = bytes > BYTES as u64;
        let cuts = if which == Steps::All || is_move {
            bytes
        } else {
            0
        };
        for cut in (0..cuts).step_by(stride) {
            let context = format!(
                "{torn_erase:?}, {SECTORS} sectors of {BYTES}, step {step}, cut after {cut} of {bytes}"
            );
            let mut dark = store(flash.clone());
            dark.flash().cut_after(cut);
            let result = block_on(dark.put(key(number), &new));
            assert_eq!(result, Err(Error::Flash(FlashError::PowerCut)), "{context}");

            let mut dark = dark.into_flash();
            dark.restore_power();
            let mut reopened = store(dark);
            let mut model = newest.clone();
            let found = get(&mut reopened, key(number));
            if found == new {
                model.insert(number, found);
            }
            check(&mut reopened, &model, &context);
            for more in 0..3 {
                let number = (number + more) % KEYS;
                let new = value(1000 + step + u32::from(more));
                block_on(reopened.put(key(number), &new)).expect("writing goes on");
                model.insert(number, new);
            }
            check(&mut reopened, &model, &context);
        }
        newest.insert(number, new);
        flash = uncut;
    }
    let least = flash.erases().iter().min();
    assert!(
        least >= Some(&rotations),
        "the script rotates too little: {:?}",
        flash.erases()
    );
}

/// Puts new values under three keys at once, of which the second has the same as before.
fn put_three<F: NorFlash>(store: &mut Store<F>, step: u32) -> Result<Put, Error<F::Error>> {
    let mut new = |wanted| {
        let number = (0..KEYS).find(|number| key(*number) == wanted);
        let number = u32::from(number.expect("a key of these"));
        let step = if number == 1 { 0 } else { step };
        heapless::Vec::from_slice(&value(step + number)).expect("it is short")
    };
    block_on(store.put_all(&[key(0), key(1), key(2)], &mut new))
}

fn three<F: NorFlash>(store: &mut Store<F>) -> [Vec<u8>; 3] {
    [0, 1, 2].map(|number| get(store, key(number)))
}

#[test]
fn a_power_cut_after_any_byte_leaves_what_is_put_together_all_old_or_all_new() {
    for torn_erase in [TornErase::Forward, TornErase::Programmed, TornErase::Noise] {
        let mut flash = RamFlash::<256, 2>::new();
        flash.set_torn_erase(torn_erase);
        for step in 0..40 {
            let mut uncut = store(flash.clone());
            let before = flash.bytes_written();
            let old = three(&mut uncut);
            put_three(&mut uncut, step).expect("an uncut put works");
            let new = three(&mut uncut);
            assert_eq!(put_three(&mut uncut, step), Ok(Put::Unchanged));
            let uncut = uncut.into_flash();
            for cut in 0..uncut.bytes_written() - before {
                let context = format!("{torn_erase:?}, step {step}, cut after {cut}");
                let mut dark = store(flash.clone());
                dark.flash().cut_after(cut);
                let result = put_three(&mut dark, step);
                assert_eq!(result, Err(Error::Flash(FlashError::PowerCut)), "{context}");
                let mut dark = dark.into_flash();
                dark.restore_power();
                let mut reopened = store(dark);
                let found = three(&mut reopened);
                assert!(found == old || found == new, "{context} {found:?}");
                // What comes next completes nothing.
                for more in 0..3 {
                    let other = value(1000 + more);
                    block_on(reopened.put(key(3), &other)).expect("writing goes on");
                    assert_eq!(three(&mut reopened), found, "{context}");
                    reopened = store(reopened.into_flash());
                    assert_eq!(three(&mut reopened), found, "{context}");
                }
            }
            flash = uncut;
        }
        let least = flash.erases().iter().min();
        assert!(least >= Some(&3), "{:?}", flash.erases());
    }
}

#[test]
fn a_power_cut_after_any_byte_loses_nothing() {
    cut_everywhere::<256, 2>(90, Steps::All, 1, 3, TornErase::Forward);
    cut_everywhere::<256, 3>(130, Steps::All, 1, 3, TornErase::Forward);
}

#[test]
fn a_sector_erased_from_its_end_by_a_power_cut_loses_nothing() {
    cut_everywhere::<256, 2>(50, Steps::Moves, 1, 2, TornErase::Backward);
    cut_everywhere::<256, 3>(90, Steps::Moves, 1, 2, TornErase::Backward);
}

#[test]
fn a_sector_left_programmed_by_a_power_cut_loses_nothing() {
    cut_everywhere::<256, 2>(50, Steps::Moves, 1, 2, TornErase::Programmed);
    cut_everywhere::<256, 3>(90, Steps::Moves, 1, 2, TornErase::Programmed);
}

#[test]
fn a_sector_left_undefined_by_a_power_cut_loses_nothing() {
    cut_everywhere::<256, 2>(50, Steps::Moves, 1, 2, TornErase::Noise);
    cut_everywhere::<256, 3>(90, Steps::Moves, 1, 2, TornErase::Noise);
}

#[test]
fn a_power_cut_loses_nothing_in_sectors_of_the_real_size() {
    cut_everywhere::<SECTOR, 2>(700, Steps::Moves, 509, 1, TornErase::Noise);
}

#[test]
fn an_equal_value_is_not_written_again() {
    let mut store = store(RamFlash::<1024, 2>::new());
    assert_eq!(block_on(store.put(key(0), &[1; 16])), Ok(Put::Written));
    let written = store.flash().bytes_written();
    for _ in 0..100 {
        assert_eq!(block_on(store.put(key(0), &[1; 16])), Ok(Put::Unchanged));
        assert_eq!(block_on(store.remove(key(1))), Ok(Put::Unchanged));
    }
    assert_eq!(store.flash().bytes_written(), written);
    assert_eq!(block_on(store.put(key(0), &[1; 15])), Ok(Put::Written));
    assert!(store.flash().bytes_written() > written);
}

#[test]
fn the_wear_is_spread_over_the_sectors() {
    let mut store = store(RamFlash::<256, 4>::new());
    for n in 0..1000 {
        block_on(store.put(key(0), &value(8 * n))).unwrap();
    }
    let erases = *store.flash().erases();
    let (least, most) = (erases.iter().min().unwrap(), erases.iter().max().unwrap());
    assert!(*least > 10 && most - least <= 1, "{erases:?}");
}

/// The most reads of one of these puts: where it is written behind the others, and where all move to another sector.
fn most_reads(puts: impl Iterator<Item = (Key, [u8; 4])>) -> [u32; 2] {
    let mut store = store(RamFlash::<SECTOR, 2>::new());
    let mut most = [0; 2];
    for (key, value) in puts {
        let (reads, written) = (store.flash().reads(), store.flash().bytes_written());
        assert_eq!(block_on(store.put(key, &value)), Ok(Put::Written));
        let reads = store.flash().reads() - reads;
        let is_move = store.flash().bytes_written() - written > 12;
        let most = &mut most[usize::from(is_move)];
        *most = reads.max(*most);
    }
    most
}

/// On a chip each read is a call of the SDK's, and nothing else runs meanwhile.
#[test]
fn a_put_reads_little_more_than_there_is_in_the_sector() {
    let stamps = (0..2000u32).map(|n| (Key::Stamp(n as u8 % 4), n.to_le_bytes()));
    let texts = (0..2000u32).map(|n| (Key::Text(n as u16 % 300), n.to_le_bytes()));
    for (most, bounds) in [
        (most_reads(stamps), [90, 300]),
        (most_reads(texts), [90, 7_000]),
    ] {
        assert!(most[0] <= bounds[0] && most[1] <= bounds[1], "{most:?}");
    }
}

/// The settings of a request are put together: that takes one way through the sector, too, not one for each.
#[test]
fn values_that_are_put_together_are_looked_for_together() {
    let keys: Vec<Key> = (0..26).map(Key::Setting).collect();
    let mut store = store(RamFlash::<SECTOR, 2>::new());
    let mut most = 0;
    for step in 0..200u32 {
        let new = &mut |key| {
            let place = keys.iter().position(|other| *other == key).expect("one");
            // All stay but three.
            let value = if place % 9 == 4 { step + 1 } else { 7 };
            heapless::Vec::from_slice(&value.to_le_bytes()).expect("short")
        };
        let (reads, written) = (store.flash().reads(), store.flash().bytes_written());
        assert_eq!(block_on(store.put_all(&keys, new)), Ok(Put::Written));
        let written = store.flash().bytes_written() - written;
        if written == 3 * 12 {
            most = most.max(store.flash().reads() - reads);
        }
        assert_eq!(block_on(store.put_all(&keys, new)), Ok(Put::Unchanged));
        for (place, key) in keys.iter().enumerate() {
            let is = if place % 9 == 4 { step + 1 } else { 7 };
            assert_eq!(get(&mut store, *key), is.to_le_bytes(), "{step}");
        }
    }
    // One for each of the values besides, and one for each that is written.
    assert!((50..130).contains(&most), "{most}");
    let many: Vec<Key> = (0..33).map(Key::Setting).collect();
    let new = &mut |_| heapless::Vec::from_slice(&[1]).expect("short");
    assert_eq!(block_on(store.put_all(&many, new)), Err(Error::Full));
}

#[test]
fn a_removed_value_is_gone_also_after_a_restart() {
    let mut first = store(RamFlash::<256, 2>::new());
    block_on(first.put(key(2), b"text")).unwrap();
    assert_eq!(block_on(first.remove(key(2))), Ok(Put::Written));
    let mut second = store(first.into_flash());
    assert_eq!(block_on(second.get(key(2), &mut [0; 16])), Ok(None));
}

#[test]
fn a_full_flash_is_an_error_and_keeps_the_old_values() {
    let mut store = store(RamFlash::<256, 2>::new());
    let mut kept = 0;
    let error = loop {
        match block_on(store.put(Key::Text(kept), &[kept as u8; 16])) {
            Ok(put) => assert_eq!(put, Put::Written),
            Err(error) => break error,
        }
        kept += 1;
    };
    assert_eq!(error, Error::Full);
    assert!(kept >= 8, "only {kept} values fit");
    for row in 0..kept {
        assert_eq!(get(&mut store, Key::Text(row)), [row as u8; 16]);
    }
}

#[test]
fn a_failed_write_is_an_error_and_keeps_the_old_value() {
    let mut store = store(RamFlash::<256, 2>::new());
    block_on(store.put(key(0), b"old")).unwrap();
    store.flash().set_broken(true);
    let result = block_on(store.put(key(0), b"new"));
    assert_eq!(result, Err(Error::Flash(FlashError::Broken)));
    assert_eq!(get(&mut store, key(0)), b"old");
    store.flash().set_broken(false);
    block_on(store.put(key(0), b"new")).unwrap();
    assert_eq!(get(&mut store, key(0)), b"new");
}

/// A brown-out may stop a write without resetting the device: the same store goes on.
#[test]
fn a_write_that_fails_at_any_byte_does_not_mislead_the_store() {
    let mut flash = RamFlash::<256, 2>::new();
    let mut rotated = 0;
    for step in 0..60 {
        let mut whole = store(flash.clone());
        let before = flash.bytes_written();
        block_on(whole.put(key(0), &value(8 * step))).unwrap();
        let whole = whole.into_flash();
        let bytes = whole.bytes_written() - before;
        rotated += u32::from(bytes > 100);
        for cut in 0..bytes {
            let mut failed = store(flash.clone());
            failed.flash().cut_after(cut);
            block_on(failed.put(key(0), &value(8 * step))).unwrap_err();
            failed.flash().restore_power();
            block_on(failed.put(key(1), b"after")).unwrap();
            let mut reopened = store(failed.into_flash());
            assert_eq!(
                get(&mut reopened, key(1)),
                b"after",
                "step {step}, cut {cut}"
            );
            let found = get(&mut reopened, key(0));
            let old = if step == 0 {
                vec![]
            } else {
                value(8 * step - 8)
            };
            assert!(
                found == old || found == value(8 * step),
                "step {step}, cut {cut}"
            );
        }
        flash = whole;
    }
    assert!(rotated > 3);
}

#[test]
fn wrong_arguments_are_errors() {
    let range = |range| {
        block_on(Store::open(RamFlash::<256, 3>::new(), range))
            .map(|_| ())
            .unwrap_err()
    };
    assert_eq!(range(0..256), Error::Range);
    assert_eq!(range(0..1024), Error::Range);
    assert_eq!(range(0..500), Error::Range);
    assert_eq!(range(4..516), Error::Range);
    #[allow(clippy::reversed_empty_ranges)]
    let reversed = range(512..0);
    assert_eq!(reversed, Error::Range);

    let mut store = store(RamFlash::<256, 2>::new());
    let long = [1; MAX_VALUE + 1];
    assert_eq!(block_on(store.put(key(0), &long)), Err(Error::TooLong(65)));
    assert_eq!(block_on(store.put(key(0), &long[1..])), Ok(Put::Written));
    assert_eq!(
        block_on(store.get(key(0), &mut [0; 63])),
        Err(Error::Buffer(64))
    );
}

/// xorshift, so that a failure can be repeated.
fn noise(seed: u32) -> impl FnMut() -> u8 {
    let mut state = seed * 2 + 1;
    move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 11) as u8
    }
}

#[test]
fn foreign_contents_never_block_the_device() {
    for seed in 0..400 {
        let mut flash = RamFlash::<256, 3>::new();
        let mut noise = noise(seed);
        for byte in flash.contents_mut() {
            *byte = noise();
        }
        // Contents of one value throughout as well: a chip of zeros, a repeated pattern.
        if seed % 4 == 0 {
            flash.contents_mut().fill(seed as u8);
        }
        let mut store = store(flash);
        let mut buffer = [0; MAX_VALUE];
        block_on(store.get(key(0), &mut buffer)).expect("reading is possible");
        for n in 0..40 {
            let new = [n; 16];
            block_on(store.put(key(n % KEYS), &new)).expect("writing is possible");
            assert_eq!(get(&mut store, key(n % KEYS)), new, "seed {seed}, step {n}");
        }
    }
}

#[test]
fn what_was_found_is_told() {
    let mut first = store(RamFlash::<256, 3>::new());
    assert_eq!(first.contents(), Contents::Blank);
    block_on(first.put(key(0), b"value")).unwrap();
    let second = store(first.into_flash());
    assert_eq!(second.contents(), Contents::Values);

    let mut flash = second.into_flash();
    flash.contents_mut().fill(0);
    let mut third = store(flash);
    assert_eq!(third.contents(), Contents::Unreadable);
    assert_eq!(get(&mut third, key(0)), b"");
    block_on(third.put(key(0), b"new")).unwrap();
    assert_eq!(get(&mut third, key(0)), b"new");
    assert_eq!(store(third.into_flash()).contents(), Contents::Values);
}

#[test]
fn a_sector_that_keeps_nothing_is_passed_over() {
    let mut flash = RamFlash::<256, 3>::new();
    flash.set_lenient();
    flash.set_stuck(1);
    let mut first = store(flash);
    for n in 0..60 {
        block_on(first.put(key(n % KEYS), &[n; 16])).expect("two sectors are left");
        assert_eq!(get(&mut first, key(n % KEYS)), [n; 16]);
    }

    let mut flash = RamFlash::<256, 2>::new();
    flash.set_lenient();
    flash.set_stuck(1);
    let mut second = store(flash);
    let error = (0..60).find_map(|n| block_on(second.put(key(0), &[n; 16])).err());
    assert_eq!(error, Some(Error::WornOut));
    assert!(!get(&mut second, key(0)).is_empty());
}

#[test]
fn a_flipped_byte_costs_at_most_what_it_hit() {
    let mut first = store(RamFlash::<256, 2>::new());
    block_on(first.put(key(0), &[1; 16])).unwrap();
    block_on(first.put(key(1), &[2; 16])).unwrap();
    let flash = first.into_flash();
    for index in 0..512 {
        let mut damaged = flash.clone();
        damaged.contents_mut()[index] ^= 0x10;
        damaged.set_lenient();
        let mut store = store(damaged);
        let values = [get(&mut store, key(0)), get(&mut store, key(1))];
        let lost = values.iter().filter(|value| value.is_empty()).count();
        assert!(lost <= 1, "byte {index}: {values:?}");
        assert!(values[0].is_empty() || values[0] == [1; 16]);
        assert!(values[1].is_empty() || values[1] == [2; 16]);
        block_on(store.put(key(0), &[3; 16])).unwrap();
        assert_eq!(get(&mut store, key(0)), [3; 16], "byte {index}");
    }
}

#[test]
fn the_file_of_the_host_board_keeps_values_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flash.bin");
    let mut first = store(FileFlash::open(&path, 2).unwrap());
    for n in 0..150 {
        block_on(first.put(key(n as u8 % KEYS), &value(8 * n))).unwrap();
    }
    drop(first);
    let mut second = store(FileFlash::open(&path, 2).unwrap());
    for n in 146..150 {
        assert_eq!(get(&mut second, key(n as u8 % KEYS)), value(8 * n));
    }
}
