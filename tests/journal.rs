//! The log in flash: what survives a power cut, a full flash, damage and a restart.

use embassy_futures::block_on;
use embedded_storage_async::nor_flash::NorFlash;
use metertrekker::smartmeter::journal::{Error, Journal, MAX_TEXT};
use metertrekker::soc::host::flash::{FileFlash, SECTOR};
use metertrekker::soc::host::ram_flash::{Error as FlashError, RamFlash, TornErase};

fn journal<F: NorFlash>(flash: F) -> Journal<F> {
    let capacity = flash.capacity() as u32;
    block_on(Journal::open(flash, 0..capacity)).expect("the whole flash is a valid range")
}

fn lines<F: NorFlash>(journal: &mut Journal<F>) -> Vec<String> {
    let mut cursor = journal.cursor();
    let mut lines = Vec::new();
    while let Some(line) = block_on(journal.next(&mut cursor)).expect("reading works") {
        lines.push(line.to_owned());
    }
    lines
}

/// The line of step `n`: lengths that are and are not whole words, now and then none.
fn line(n: usize) -> String {
    let length = [13, 40, 1, 16, 0, 33, 64, 7][n % 8];
    let text = format!("{n:03} \"é\\\" of the log, which has as many bytes as it has");
    text.chars().take(length).collect()
}

/// What a step does: it appends a line, or forgets all.
fn act<F: NorFlash>(journal: &mut Journal<F>, step: usize) -> Result<(), Error<F::Error>> {
    match step % 23 {
        22 => block_on(journal.clear()),
        _ => block_on(journal.append(&line(step))),
    }
}

/// For each step of a script: cut the power after every byte that the step writes or erases, re-open,
/// check all lines, then go on and check again.
fn cut_everywhere<const BYTES: usize, const SECTORS: usize>(steps: usize, torn_erase: TornErase) {
    let mut flash = RamFlash::<BYTES, SECTORS>::new();
    flash.set_torn_erase(torn_erase);
    for step in 0..steps {
        let mut uncut = journal(flash.clone());
        let before = lines(&mut uncut);
        let written = uncut.flash().bytes_written();
        act(&mut uncut, step).expect("an uncut step works");
        let after = lines(&mut uncut);
        let uncut = uncut.into_flash();
        let bytes = uncut.bytes_written() - written;
        for cut in 0..bytes {
            let context =
                format!("{torn_erase:?}, {SECTORS}, step {step}, cut after {cut} of {bytes}");
            let mut dark = journal(flash.clone());
            dark.flash().cut_after(cut);
            let result = act(&mut dark, step);
            assert_eq!(result, Err(Error::Flash(FlashError::PowerCut)), "{context}");

            let mut dark = dark.into_flash();
            dark.restore_power();
            let mut reopened = journal(dark);
            let found = lines(&mut reopened);
            // While a sector is erased its lines may go, which are the oldest; nothing else does.
            let stays = before.len() - erased(&before, &after, bytes > BYTES as u64);
            assert!(
                found == after || found.ends_with(&before[before.len() - stays..]),
                "{context}: {found:?} of {before:?}"
            );
            assert!(
                bytes > BYTES as u64 || found == after || found == before,
                "{context}: {found:?} of {before:?}"
            );

            assert!(
                found
                    .iter()
                    .all(|line| before.contains(line) || after.contains(line)),
                "{context}: {found:?} of {before:?}"
            );

            for more in ["more", "and more"] {
                block_on(reopened.append(more)).expect("writing goes on");
            }
            let found = lines(&mut journal(reopened.into_flash()));
            assert!(
                found.ends_with(&["more".into(), "and more".into()]),
                "{context}"
            );
        }
        flash = uncut;
    }
    let least = *flash.erases().iter().min().unwrap();
    assert!(least >= 2, "too few rotations: {:?}", flash.erases());
    let sum: u32 = flash.erases().iter().sum();
    assert_eq!(journal(flash).erases(), sum);
}

/// How many lines at the front a rotation has taken.
fn erased(before: &[String], after: &[String], rotated: bool) -> usize {
    if !rotated {
        return 0;
    }
    (0..=before.len())
        .find(|gone| after.starts_with(&before[*gone..]))
        .unwrap_or(before.len())
}

#[test]
fn a_power_cut_after_any_byte_costs_at_most_the_line_under_way() {
    for torn in [
        TornErase::Forward,
        TornErase::Backward,
        TornErase::Programmed,
        TornErase::Noise,
    ] {
        cut_everywhere::<256, 2>(90, torn);
        cut_everywhere::<256, 3>(110, torn);
    }
}

#[test]
fn lines_are_read_from_the_oldest_and_stay_over_a_restart() {
    let mut first = journal(RamFlash::<1024, 2>::new());
    assert!(lines(&mut first).is_empty());
    for n in 0..9 {
        block_on(first.append(&line(n))).unwrap();
    }
    let all: Vec<_> = (0..9).map(line).collect();
    assert_eq!(lines(&mut first), all);
    assert_eq!(lines(&mut journal(first.into_flash())), all);
}

#[test]
fn all_sectors_but_one_keep_their_lines_and_all_wear_evenly() {
    let mut journal = journal(RamFlash::<1024, 5>::new());
    let written: Vec<_> = (0..2000).map(line).collect();
    for (count, line) in written.iter().enumerate() {
        block_on(journal.append(line)).unwrap();
        let kept = lines(&mut journal);
        assert!(written[..=count].ends_with(&kept));
        // A record has 8 bytes more than its text, and up to 3 to whole words.
        let bytes: usize = kept.iter().map(|line| line.len() + 11).sum();
        assert!(bytes > 3800 || kept.len() == count + 1, "{count}");
    }
    let erases = *journal.flash().erases();
    let (least, most) = (erases.iter().min().unwrap(), erases.iter().max().unwrap());
    assert!(*least > 10 && most - least <= 1, "{erases:?}");
    assert_eq!(journal.erases(), erases.iter().sum::<u32>());
}

/// On a chip nothing else runs while a sector is erased.
#[test]
fn a_line_costs_one_erase_at_most_whatever_is_in_flash() {
    let mut flash = RamFlash::<1024, 5>::new();
    flash.contents_mut().fill(0);
    let mut journal = journal(flash);
    let mut all = 0;
    for n in 0..500 {
        block_on(journal.append(&line(n))).unwrap();
        let before = all;
        all = journal.flash().erases().iter().sum();
        assert!(all <= before + 1, "{n}");
        assert!(n > 0 || all == 1);
    }
    assert!(all > 10, "{all}");
}

/// The header and a record of the format that had two areas, whatever these had beside.
#[test]
fn what_an_older_version_has_kept_is_forgotten() {
    let crc = |body: &[u8]| {
        let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);
        crc.checksum(body).to_le_bytes()
    };
    let words = [1u32, 0, 0, 24].map(u32::to_le_bytes);
    let header = [&b"MTL1"[..], words.as_flattened()].concat();
    let record = b"l\x04\0\0gone".to_vec();
    let old = [
        header.clone(),
        crc(&header).to_vec(),
        crc(&record).to_vec(),
        record,
    ]
    .concat();
    let mut flash = RamFlash::<1024, 4>::new();
    for area in [0, 2048] {
        flash.contents_mut()[area..area + old.len()].copy_from_slice(&old);
    }
    let mut first = journal(flash.clone());
    assert!(lines(&mut first).is_empty());
    let all: Vec<_> = (0..70).map(line).collect();
    for line in &all {
        block_on(first.append(line)).unwrap();
        assert!(all.starts_with(&lines(&mut first)));
    }
    assert_eq!(lines(&mut journal(first.into_flash())), all);
    // All of it but the name is as the new one has it.
    for area in [0, 2048] {
        flash.contents_mut()[area..area + 4].copy_from_slice(b"MTL2");
        let header = &flash.contents_mut()[area..area + 20].to_vec();
        flash.contents_mut()[area + 20..area + 24].copy_from_slice(&crc(header));
    }
    assert_eq!(lines(&mut journal(flash)), ["gone"]);
}

/// The board's map is another one, and what was the journal's begins elsewhere.
#[test]
fn what_was_kept_in_another_range_is_forgotten() {
    let mut first = journal(RamFlash::<1024, 5>::new());
    for n in 0..400 {
        block_on(first.append(&line(n))).unwrap();
    }
    let flash = first.into_flash();
    for range in [0..4096, 1024..5120, 1024..3072] {
        let moved = Journal::open(flash.clone(), range.clone());
        let mut moved = block_on(moved).expect("a valid range");
        for n in 400..800 {
            let before = lines(&mut moved);
            block_on(moved.append(&line(n))).unwrap();
            let after = lines(&mut moved);
            assert_eq!(after.last(), Some(&line(n)), "{range:?}");
            assert!(before.ends_with(&after[..after.len() - 1]), "{range:?}");
        }
        let moved = moved.into_flash();
        let mut again = block_on(Journal::open(moved, range.clone())).expect("a valid range");
        assert_eq!(lines(&mut again).last(), Some(&line(799)), "{range:?}");
    }
}

#[test]
fn what_was_forgotten_stays_so_and_costs_no_erase() {
    let mut first = journal(RamFlash::<1024, 2>::new());
    block_on(first.clear()).unwrap();
    assert_eq!(first.flash().bytes_written(), 0);
    block_on(first.append("old")).unwrap();
    for _ in 0..500 {
        block_on(first.clear()).unwrap();
    }
    assert!(lines(&mut first).is_empty());
    assert_eq!(first.flash().erases(), &[0, 0]);
    block_on(first.append("new")).unwrap();
    assert_eq!(lines(&mut first), ["new"]);
    assert_eq!(lines(&mut journal(first.into_flash())), ["new"]);
}

#[test]
fn who_reads_while_lines_come_and_go_reads_what_there_was_and_still_is() {
    let mut journal = journal(RamFlash::<256, 2>::new());
    for n in 0..4 {
        block_on(journal.append(&line(n))).unwrap();
    }
    let mut cursor = journal.cursor();
    assert_eq!(block_on(journal.next(&mut cursor)), Ok(Some(&*line(0))));
    block_on(journal.append("later")).unwrap();
    assert_eq!(block_on(journal.next(&mut cursor)), Ok(Some(&*line(1))));
    let mut cleared = cursor.clone();
    let mut rest = cursor.clone();
    for n in 2..4 {
        assert_eq!(block_on(journal.next(&mut rest)), Ok(Some(&*line(n))));
    }
    assert_eq!(block_on(journal.next(&mut rest)), Ok(None));
    for _ in 0..20 {
        block_on(journal.append(&line(1))).unwrap();
    }
    assert_eq!(block_on(journal.next(&mut cursor)), Ok(None));

    let mut cursor = journal.cursor();
    block_on(journal.clear()).unwrap();
    block_on(journal.append("later")).unwrap();
    assert_eq!(block_on(journal.next(&mut cursor)), Ok(None));
    assert_eq!(block_on(journal.next(&mut cleared)), Ok(None));
}

/// A brown-out may stop a write without resetting the device: the same journal goes on.
#[test]
fn a_write_that_fails_at_any_byte_does_not_mislead_the_journal() {
    let mut flash = RamFlash::<256, 2>::new();
    flash.set_torn_erase(TornErase::Noise);
    for step in 0..60 {
        let mut whole = journal(flash.clone());
        let before = whole.flash().bytes_written();
        act(&mut whole, step).unwrap();
        let whole = whole.into_flash();
        for cut in 0..whole.bytes_written() - before {
            let mut failed = journal(flash.clone());
            failed.flash().cut_after(cut);
            act(&mut failed, step).unwrap_err();
            failed.flash().restore_power();
            let kept = lines(&mut failed);
            block_on(failed.append("after")).unwrap();
            let found = lines(&mut failed);
            assert_eq!(found.last().unwrap(), "after", "step {step}, cut {cut}");
            let gone = found.len() <= kept.len();
            assert!(gone || found.starts_with(&kept), "step {step}, cut {cut}");
            let reopened = lines(&mut journal(failed.into_flash()));
            // An erase that was never done leaves the oldest lines where they were.
            assert!(reopened.ends_with(&found), "step {step}, cut {cut}");
        }
        flash = whole;
    }
}

#[test]
fn a_failed_write_is_an_error_and_keeps_the_lines() {
    let mut journal = journal(RamFlash::<256, 2>::new());
    block_on(journal.append("old")).unwrap();
    journal.flash().set_broken(true);
    let broken = Err(Error::Flash(FlashError::Broken));
    assert_eq!(block_on(journal.append("new")), broken);
    assert_eq!(block_on(journal.clear()), broken);
    assert_eq!(lines(&mut journal), ["old"]);
    journal.flash().set_broken(false);
    block_on(journal.append("new")).unwrap();
    assert_eq!(lines(&mut journal), ["old", "new"]);
}

#[test]
fn wrong_arguments_are_errors() {
    let range = |range| {
        block_on(Journal::open(RamFlash::<256, 4>::new(), range))
            .map(|_| ())
            .unwrap_err()
    };
    assert_eq!(range(0..256), Error::Range);
    assert_eq!(range(0..2048), Error::Range);
    assert_eq!(range(0..500), Error::Range);
    assert_eq!(range(4..516), Error::Range);
    assert_eq!(range(512..512), Error::Range);
    #[allow(clippy::reversed_empty_ranges)]
    let reversed = range(512..0);
    assert_eq!(reversed, Error::Range);
    let behind = Journal::open(RamFlash::<256, 4>::new(), 512..1024);
    let mut behind = block_on(behind).unwrap();

    let long = "x".repeat(MAX_TEXT + 1);
    assert_eq!(block_on(behind.append(&long)), Err(Error::TooLong(145)));
    for _ in 0..9 {
        block_on(behind.append(&long[1..])).unwrap();
    }
    assert_eq!(lines(&mut behind).last().unwrap(), &long[1..]);
    assert!(
        behind.flash().contents_mut()[..512]
            .iter()
            .all(|byte| *byte == 0xFF)
    );
}

#[test]
fn foreign_contents_never_block_the_device() {
    let mut state = 1u32;
    for seed in 0..400 {
        let mut flash = RamFlash::<256, 2>::new();
        for byte in flash.contents_mut() {
            // xorshift, so that a failure can be repeated.
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            *byte = (state >> 11) as u8;
        }
        // Contents of one value throughout as well.
        if seed % 4 == 0 {
            flash.contents_mut().fill(seed as u8);
        }
        let mut journal = journal(flash);
        assert!(lines(&mut journal).is_empty());
        block_on(journal.clear()).expect("writing is possible");
        for n in 0..40 {
            block_on(journal.append(&line(n))).expect("writing is possible");
            assert_eq!(lines(&mut journal).last(), Some(&line(n)), "seed {seed}");
        }
    }
}

#[test]
fn a_flipped_byte_costs_at_most_what_it_hit() {
    let mut first = journal(RamFlash::<256, 2>::new());
    let all: Vec<_> = (0..6).map(line).collect();
    for line in &all {
        block_on(first.append(line)).unwrap();
    }
    let flash = first.into_flash();
    for index in 0..512 {
        let mut damaged = flash.clone();
        damaged.contents_mut()[index] ^= 0x10;
        damaged.set_lenient();
        let mut journal = journal(damaged);
        let found = lines(&mut journal);
        let lost = all.len() - found.len();
        let header = index < 24;
        assert!(
            lost <= if header { all.len() } else { 1 },
            "{index}: {found:?}"
        );
        assert!(
            found.iter().all(|line| all.contains(line)),
            "{index}: {found:?}"
        );
        for n in 0..20 {
            block_on(journal.append(&line(n))).unwrap();
            assert_eq!(lines(&mut journal).last(), Some(&line(n)), "{index}");
        }
    }
}

#[test]
fn flash_that_keeps_nothing_is_an_error_and_the_lines_elsewhere_stay() {
    let mut flash = RamFlash::<256, 2>::new();
    flash.set_lenient();
    flash.set_stuck(1);
    let mut journal = journal(flash);
    let error = (0..60).find_map(|n| block_on(journal.append(&line(n))).err());
    assert_eq!(error, Some(Error::WornOut));
    let kept = lines(&mut journal);
    for _ in 0..9 {
        assert_eq!(block_on(journal.append(&line(1))), Err(Error::WornOut));
        assert_eq!(lines(&mut journal), kept);
    }
    assert!(!kept.is_empty());
}

#[test]
fn a_line_that_is_not_kept_is_an_error() {
    let mut flash = RamFlash::<256, 2>::new();
    flash.set_lenient();
    let mut journal = journal(flash);
    block_on(journal.append("old")).unwrap();
    journal.flash().set_stuck(0);
    assert_eq!(block_on(journal.append("new")), Err(Error::WornOut));
}

#[test]
fn an_erase_that_a_power_cut_ended_is_counted() {
    let mut first = journal(RamFlash::<256, 2>::new());
    let mut n = 0;
    while first.flash().erases() == &[0, 0] {
        first.flash().cut_after(100);
        let result = block_on(first.append(&line(n)));
        first.flash().restore_power();
        n += 1;
        assert!(result.is_ok() || first.flash().erases() != &[0, 0]);
    }
    let mut second = journal(first.into_flash());
    assert_eq!(second.erases(), 1);
    block_on(second.append(&line(1))).unwrap();
    assert_eq!(second.erases(), 2);
    assert_eq!(second.flash().erases(), &[2, 0]);
    assert_eq!(journal(second.into_flash()).erases(), 2);
}

#[test]
fn the_file_of_the_host_board_keeps_lines_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.bin");
    let mut first = journal(FileFlash::open(&path, 2).unwrap());
    for n in 0..400 {
        block_on(first.append(&line(n))).unwrap();
    }
    let (kept, erases) = (lines(&mut first), first.erases());
    assert!(erases > 0 && kept.len() > SECTOR / 60);
    drop(first);
    let mut second = journal(FileFlash::open(&path, 2).unwrap());
    assert_eq!((lines(&mut second), second.erases()), (kept, erases));
}
