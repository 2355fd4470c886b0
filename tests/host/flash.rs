//! The flash chip in a file: the rules of NOR flash, and errors that say what to do.

use std::fs;

use embassy_futures::block_on;
use embedded_storage_async::nor_flash::{NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};
use metertrekker::soc::host::flash::{Error, FileFlash, SECTOR};
use metertrekker::soc::host::ram_flash::{Error as RamError, RamFlash};
use metertrekker::soc::nor::Misuse;

#[test]
fn a_missing_file_is_made_erased() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flash.bin");
    let mut flash = FileFlash::open(&path, 3).unwrap();
    assert_eq!(flash.capacity(), 3 * SECTOR);
    let mut bytes = [0; SECTOR];
    block_on(flash.read(2 * SECTOR as u32, &mut bytes)).unwrap();
    assert_eq!(bytes, [0xFF; SECTOR]);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn writes_stay_and_erases_cover_whole_sectors() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flash.bin");
    let mut flash = FileFlash::open(&path, 2).unwrap();
    block_on(flash.write(4092, &[1, 2, 3, 4])).unwrap();
    block_on(flash.write(4096, &[5, 6, 7, 8])).unwrap();
    drop(flash);

    let mut flash = FileFlash::open(&path, 2).unwrap();
    let mut bytes = [0; 8];
    block_on(flash.read(4092, &mut bytes)).unwrap();
    assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8]);
    block_on(flash.erase(0, 4096)).unwrap();
    block_on(flash.read(4092, &mut bytes)).unwrap();
    assert_eq!(bytes, [255, 255, 255, 255, 5, 6, 7, 8]);
}

#[test]
fn a_write_clears_bits_and_sets_none() {
    let mut flash = RamFlash::<256, 2>::new();
    block_on(flash.write(8, &[0xF0; 4])).unwrap();
    block_on(flash.write(8, &[0x30; 4])).unwrap();
    let result = block_on(flash.write(8, &[0x30, 0x31, 0x30, 0x30]));
    let not_erased = Misuse::NotErased { offset: 9 };
    assert_eq!(result, Err(RamError::Misuse(not_erased)));

    let directory = tempfile::tempdir().unwrap();
    let mut file = FileFlash::open(directory.path().join("flash.bin"), 1).unwrap();
    block_on(file.write(8, &[0xF0; 4])).unwrap();
    block_on(file.write(8, &[0x30; 4])).unwrap();
    let error = block_on(file.write(8, &[0x31; 4])).unwrap_err();
    assert!(matches!(error, Error::Damaged(_)), "{error}");
    let mut bytes = [0; 4];
    block_on(file.read(8, &mut bytes)).unwrap();
    assert_eq!(bytes, [0x30; 4]);
}

#[test]
fn alignment_and_bounds_are_checked() {
    let directory = tempfile::tempdir().unwrap();
    let mut flash = FileFlash::open(directory.path().join("flash.bin"), 2).unwrap();
    let (aligned, bounds) = (
        NorFlashErrorKind::NotAligned,
        NorFlashErrorKind::OutOfBounds,
    );
    let end = 2 * SECTOR as u32;
    let kind = |result: Result<(), Error>| result.unwrap_err().kind();
    assert_eq!(kind(block_on(flash.write(2, &[0; 4]))), aligned);
    assert_eq!(kind(block_on(flash.write(4, &[0; 3]))), aligned);
    assert_eq!(kind(block_on(flash.erase(4, SECTOR as u32))), aligned);
    assert_eq!(kind(block_on(flash.erase(0, 8))), aligned);
    assert_eq!(kind(block_on(flash.write(end, &[0; 4]))), bounds);
    assert_eq!(kind(block_on(flash.read(end - 1, &mut [0; 2]))), bounds);
    assert_eq!(kind(block_on(flash.erase(0, end + 1))), bounds);
    assert_eq!(kind(block_on(flash.erase(4096, 0))), bounds);
    assert!(block_on(flash.read(end - 1, &mut [0; 1])).is_ok());
}

#[test]
fn errors_name_the_file_and_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let text = |path: &std::path::Path| FileFlash::open(path, 2).unwrap_err().to_string();

    let missing = directory.path().join("missing/flash.bin");
    assert_eq!(
        text(&missing),
        format!(
            "{}: the directory does not exist; create it or name another one",
            missing.display()
        )
    );

    let wrong = directory.path().join("wrong.bin");
    fs::write(&wrong, [0xFF; 100]).unwrap();
    assert!(text(&wrong).contains("has 100 bytes where 8192 are expected"));

    assert!(text(directory.path()).contains("is a directory"));
}

#[test]
fn a_full_disk_is_an_error_that_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("flash.bin");
    // The first contents are gathered in a draft, and /dev/full takes nothing.
    std::os::unix::fs::symlink("/dev/full", path.with_extension("bin.new")).unwrap();
    let error = FileFlash::open(&path, 2).unwrap_err();
    assert!(matches!(error, Error::Full(_)), "{error}");
    assert!(
        error
            .to_string()
            .contains("the disk is full; free some space")
    );
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn the_power_goes_in_the_middle_of_a_write_and_of_an_erase() {
    let mut flash = RamFlash::<256, 2>::new();
    flash.cut_after(6);
    let cut = Err(RamError::PowerCut);
    assert_eq!(block_on(flash.write(0, &[0; 8])), cut);
    assert_eq!(block_on(flash.read(0, &mut [0; 1])), cut);
    flash.restore_power();
    let mut bytes = [1; 8];
    block_on(flash.read(0, &mut bytes)).unwrap();
    assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 0x55, 255]);

    flash.cut_after(3);
    assert_eq!(block_on(flash.erase(0, 256)), cut);
    flash.restore_power();
    block_on(flash.read(0, &mut bytes)).unwrap();
    assert_eq!(bytes, [255, 255, 255, 0, 0, 0, 0x55, 255]);
    assert_eq!(flash.erases(), &[1, 0]);
    assert_eq!(flash.bytes_written(), 9);
}
