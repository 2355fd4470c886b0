//! The log in flash: who writes it, and how a client gets it.

use core::{
    convert::Infallible,
    future::{Future, pending},
};

use embassy_sync::pubsub::WaitResult;
use embassy_time::Instant;
use embedded_storage_async::nor_flash::NorFlash;
use ufmt::uwrite;

use super::{Client, Device, Rest, at_once};
use crate::{
    settings::Text,
    smartmeter::{
        answer::{MAX, Reply},
        command::Refusal,
        flood::Verdict,
        journal::{self, Cursor, MAX_TEXT},
        log::{Level, Listener},
        time::Brief,
    },
};

/// How the log begins, in the protocol's own words; it has `log` for the command's name.
const BEGIN: &str = r#"Info:{"cmd":"log","msg":"*** LOGFile *** //n"#;
const END: &str = "*** LOGFile *** \"}\r\n";

/// How it writes the end of a line.
const BREAK: &str = "//n";

/// The longest row is all quotes.
const _: () = assert!(2 * MAX_TEXT + BREAK.len() <= MAX);

const NO_LOG: Refusal = Refusal::Argument("This board keeps no log");

impl<F: NorFlash> Device<'_, '_, F> {
    /// Keeps warnings and errors in flash for ever, beginning with a line that says that the device has
    /// started. Nobody who tells something waits for it.
    ///
    /// What is told from the call on is kept, before it is polled for the first time too.
    pub fn keep_log(&self) -> impl Future<Output = Infallible> {
        let listener = self.log.listen();
        async {
            match (self.journal, listener) {
                (Some(journal), Some(listener)) => self.keep_lines(journal, listener).await,
                _ => pending().await,
            }
        }
    }

    async fn keep_lines(
        &self,
        journal: &journal::Shared<'_, F>,
        mut listener: Listener<'_>,
    ) -> Infallible {
        let mut row = Text::<MAX_TEXT>::new();
        // It fits.
        let _ = uwrite!(row, "{}: Reboot", Brief(self.local_now()));
        self.keep(journal, &row);
        loop {
            let entry = match listener.next_message().await {
                WaitResult::Lagged(count) => {
                    self.log_lost.add(count.try_into().unwrap_or(u32::MAX));
                    continue;
                }
                WaitResult::Message(entry) => entry,
            };
            if entry.level < Level::Warning {
                continue;
            }
            let verdict = self.flood.borrow_mut().judge(entry.text(), Instant::now());
            match verdict {
                Verdict::Keep(repeats) => self.keep(journal, &entry.row(repeats)),
                Verdict::Repeated => {}
                Verdict::TooMany => self.log_lost.count(),
            }
        }
    }

    fn keep(&self, journal: &journal::Shared<'_, F>, row: &str) {
        at_once(async {
            let Ok(mut journal) = journal.try_lock() else {
                self.log_lost.count();
                return;
            };
            if journal.append(row).await.is_err() {
                self.log_lost.count();
                self.stats.storage_errors.count();
            }
            self.log_erases.set(journal.erases());
        })
    }

    pub(super) fn clear_log(&self) -> Result<(), Refusal> {
        at_once(async {
            let journal = &mut *self
                .journal
                .ok_or(NO_LOG)?
                .try_lock()
                .map_err(|_| Refusal::Storage)?;
            let cleared = journal.clear().await;
            self.log_erases.set(journal.erases());
            if cleared.is_err() {
                self.stats.storage_errors.count();
                return Err(Refusal::Storage);
            }
            self.flood.borrow_mut().forget();
            Ok(())
        })
    }

    pub(super) fn get_log(
        &self,
        client: &mut Client,
        reply: &mut dyn Reply,
    ) -> Result<(), Refusal> {
        at_once(async {
            let cursor = self
                .journal
                .ok_or(NO_LOG)?
                .try_lock()
                .map_err(|_| Refusal::Storage)?
                .cursor();
            client.rest = Some(Rest::Log(cursor));
            reply.pass(|answer| answer.part(BEGIN));
            Ok(())
        })
    }

    /// Hands over the next row; the cursor for those behind it.
    pub(super) fn next_row(&self, mut cursor: Cursor, reply: &mut dyn Reply) -> Option<Cursor> {
        at_once(async {
            // Not held while the client takes what is written here.
            let journal = &mut *self.journal?.try_lock().ok()?;
            let row = journal.next(&mut cursor).await;
            if let Ok(Some(row)) = row {
                reply.pass(|answer| {
                    answer.escaped_part(row);
                    answer.part(BREAK);
                });
                return Some(cursor);
            }
            let failed = row.is_err();
            if failed {
                self.stats.storage_errors.count();
            }
            reply.pass(|answer| {
                answer.part(END);
                answer.object(|answer| {
                    answer.head(failed, "getLog");
                    if failed {
                        answer.string("msg", "Not all of the log could be read");
                    }
                });
            });
            None
        })
    }
}
