//! UART0: P1 and the console in turn, received by interrupt into a ring.
//!
//! [`Uart0::on_interrupt`] moves bytes from the FIFO into the ring and touches nothing else: it may run while the chip erases flash,
//! when nothing in flash can be read, no code either. [`Uart0::turn`] then wakes whoever waits, and [`Uart0::keep`] gives the receiver
//! to console or P1 as [`share`](super::share) says, by speed, inversion and pins.
//!
//! # How long a reader may be away
//!
//! P1 at 115200 baud is 11.52 bytes in a millisecond. The ring's 1,023 bytes and 96 of the FIFO's 128 are 97 ms; the handler may be
//! held off for 8.3 ms of them, which is what the FIFO takes above the 32 bytes that raise it. Nothing of the firmware runs for more than
//! 10 ms at a time but an erase of flash, with the move of what is kept: it waits for 5 ms of silence, 80 ms at most, and takes 45 to
//! 400 ms then. It may begin anywhere in the silence between two telegrams, so the next may come before it is over. Of that one, and of
//! one that did not end within the 80 ms, the ring keeps what it has room for; what is lost is counted, and the telegram is refused. What
//! the vendor's libraries take for themselves has 80 ms, and nobody has measured it.

use core::{
    cell::{RefCell, UnsafeCell},
    convert::Infallible,
    future::{Future, poll_fn},
    task::Poll,
};

use embassy_futures::{select::select, yield_now};
use embassy_sync::{
    blocking_mutex::raw::NoopRawMutex, signal::Signal, waitqueue::WakerRegistration,
};
use embassy_time::{Duration, Instant, Timer};
use embedded_io_async::{ErrorType, Read, Write};
use ufmt::uWrite;

use super::{
    output::Output,
    registers::{Registers, pin, uart as register, uart::interrupt},
    share::{Owner, Share},
};
use crate::p1::port::{Format, LineErrors, LineSettings, Port};

/// Bytes in the FIFO that raise the interrupt: often enough that the FIFO has room while it is held off.
const FULL_AT: u32 = 32;

/// Characters of silence that raise it: a telegram's last bytes do not wait for others.
const SILENCE: u32 = 2;

/// What stands for a character that came damaged, and for those that are missing: no value has it, so that a telegram without CRC gets no
/// wrong one.
const SUBSTITUTE: u8 = 0x1a;

/// How long the last character takes to leave the transmitter, at 9600 baud too.
const LAST_CHARACTER: Duration = Duration::from_millis(2);

/// How often it is looked whether the transmitter has room.
const LOOK: Duration = Duration::from_millis(2);

/// How long lines of text may keep everybody waiting in a turn of the executor, all together.
const LINES: Duration = Duration::from_millis(4);

/// How a board has UART0 wired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wiring {
    /// P1 comes as the meter drives it, and the receiver has to invert it.
    pub inverted: bool,
    /// P1 comes at GPIO13, which UART0 has when its pins are swapped. The console does not.
    pub swapped: bool,
}

/// How the receiver works for one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mode {
    owner: Owner,
    baud: u32,
    format: Format,
    inverted: bool,
    swapped: bool,
}

impl Mode {
    const CONSOLE: Self = Self {
        owner: Owner::Console,
        baud: 115_200,
        format: Format::EightNone,
        inverted: false,
        swapped: false,
    };

    fn p1(wiring: Wiring, line: LineSettings) -> Self {
        Self {
            owner: Owner::P1,
            baud: line.baud,
            format: line.format,
            inverted: wiring.inverted && line.inverted,
            swapped: wiring.swapped,
        }
    }

    /// Makes the UART work so. What it has received is gone.
    fn apply(self, wiring: Wiring, registers: &impl Registers) {
        registers.write(register::INT_ENA, 0);
        self.connect(wiring, registers);
        let baud = self.baud.clamp(300, 1_000_000);
        registers.write(register::CLKDIV, register::CLOCK / baud);
        let (format, full_at) = match self.format {
            Format::EightNone => (register::EIGHT_NONE, FULL_AT),
            // One at a time: so it is known which one came damaged.
            Format::SevenEven => (register::SEVEN_EVEN, 1),
        };
        let inversion = if self.inverted {
            register::INVERT_RECEIVED
        } else {
            0
        };
        let conf0 = format | inversion;
        registers.write(register::CONF0, conf0 | register::RESET_RECEIVER);
        registers.write(register::CONF0, conf0);
        let conf1 = register::full_at(full_at) | register::timeout_after(SILENCE);
        registers.write(register::CONF1, conf1);
        registers.write(register::INT_CLR, interrupt::RECEIVE);
        registers.write(register::INT_ENA, interrupt::RECEIVE);
    }

    /// Connects receiver and transmitter. GPIO13 and GPIO15 are UART0's on boards that swap, and nobody's here on others.
    fn connect(self, wiring: Wiring, registers: &impl Registers) {
        let all = pin::FUNCTION | pin::PULL_UP;
        if self.swapped {
            // What RTS says is nothing for a terminal: it sees a line at rest.
            registers.write(pin::OUT_SET, 1 << 1);
            registers.write(pin::ENABLE_SET, 1 << 1);
            registers.modify(pin::U0TXD, all, pin::IO);
            registers.modify(pin::MTCK, all, pin::FLOW | pin::PULL_UP);
            registers.modify(pin::SWAP, 0, pin::SWAP_UART0);
            registers.modify(pin::MTDO, all, pin::FLOW);
        } else {
            if wiring.swapped {
                registers.modify(pin::MTDO, all, pin::IO);
            }
            registers.modify(pin::SWAP, pin::SWAP_UART0, 0);
            registers.modify(pin::U0RXD, all, pin::UART | pin::PULL_UP);
            registers.modify(pin::U0TXD, all, pin::UART);
        }
    }
}

/// What the interrupt's handler works with.
struct Receiver<const N: usize> {
    ring: [u8; N],
    first: usize,
    count: usize,
    /// Bits that are data.
    mask: u8,
    owner: Owner,
    errors: LineErrors,
    /// Bytes are missing before the next one.
    gap: bool,
    /// Bytes since start, wherever they went.
    total: u32,
    /// Something came since somebody last looked.
    news: bool,
    /// Something was typed.
    typed: bool,
}

impl<const N: usize> Receiver<N> {
    const fn new() -> Self {
        Self {
            ring: [0; N],
            first: 0,
            count: 0,
            mask: 0xff,
            owner: Owner::Console,
            errors: LineErrors {
                overrun: 0,
                framing: 0,
                parity: 0,
            },
            gap: false,
            total: 0,
            news: false,
            typed: false,
        }
    }

    /// Begins anew.
    fn serve(&mut self, mode: Mode) {
        (self.first, self.count) = (0, 0);
        (self.typed, self.news, self.gap) = (false, false, false);
        self.owner = mode.owner;
        self.mask = match mode.format {
            Format::EightNone => 0xff,
            Format::SevenEven => 0x7f,
        };
    }

    /// The place `offset` behind the first; there is no division in what runs while flash cannot be read.
    #[inline(always)]
    fn place(&self, offset: usize) -> usize {
        let place = self.first + offset;
        if place < N { place } else { place - N }
    }

    #[inline(always)]
    fn put(&mut self, byte: u8) {
        let place = self.place(self.count);
        if let Some(place) = self.ring.get_mut(place) {
            *place = byte;
        }
        self.count += 1;
    }

    #[inline(always)]
    fn on_interrupt(&mut self, registers: &impl Registers) {
        let raised = registers.read(register::INT_ST);
        let is_p1 = matches!(self.owner, Owner::P1);
        let is_damaged = raised & (interrupt::PARITY | interrupt::FRAME) != 0;
        let mut lost = u32::from(raised & interrupt::OVERFLOW != 0);
        // More than a FIFO can hold, so that a UART gone mad holds nobody up for ever.
        for _ in 0..2 * register::FIFO_BYTES {
            if register::received(registers.read(register::STATUS)) == 0 {
                break;
            }
            let byte = registers.read(register::FIFO) as u8 & self.mask;
            self.total = self.total.wrapping_add(1);
            // P1's signals at the console's receiver are not what anybody typed.
            if is_damaged && !is_p1 {
                continue;
            }
            let byte = if is_damaged && self.mask != 0xff {
                SUBSTITUTE
            } else {
                byte
            };
            // Room for what stands for the gap, too.
            if self.count + 1 >= N {
                lost += 1;
                self.gap = true;
                continue;
            }
            if self.gap {
                self.put(SUBSTITUTE);
                self.gap = false;
            }
            self.put(byte);
            self.typed |= !is_p1;
        }
        // What the FIFO did not take would have come behind what it had.
        self.gap |= raised & interrupt::OVERFLOW != 0;
        registers.write(register::INT_CLR, raised);
        if is_p1 {
            let errors = &mut self.errors;
            errors.overrun = errors.overrun.wrapping_add(lost);
            errors.framing = errors
                .framing
                .wrapping_add(u32::from(raised & interrupt::FRAME != 0));
            errors.parity = errors
                .parity
                .wrapping_add(u32::from(raised & interrupt::PARITY != 0));
        }
        self.news = true;
    }

    fn take(&mut self, buffer: &mut [u8]) -> usize {
        let mut taken = 0;
        for place in buffer.iter_mut() {
            if self.count == 0 {
                break;
            }
            *place = self.ring.get(self.first).copied().unwrap_or_default();
            self.first = self.place(1);
            self.count -= 1;
            taken += 1;
        }
        taken
    }
}

/// What the tasks share.
struct State {
    share: Share,
    line: LineSettings,
    mode: Mode,
    /// Another mode is due, and what is being sent has to be sent first; since when nothing is left to be sent.
    quiet: Option<Option<Instant>>,
    /// When the patience with lines of text is over, once somebody has waited in this turn.
    patient_until: Option<Instant>,
    p1: WakerRegistration,
    console: WakerRegistration,
}

/// UART0, with a ring of `N` bytes.
///
/// For one core: tasks of one executor, and the handler, which nothing but a non-maskable interrupt interrupts.
pub struct Uart0<R, const N: usize> {
    registers: R,
    wiring: Wiring,
    receiver: UnsafeCell<Receiver<N>>,
    state: RefCell<Option<State>>,
    changed: Signal<NoopRawMutex, ()>,
}

impl<R: Registers, const N: usize> Uart0<R, N> {
    /// A UART that is not started yet.
    pub const fn new(registers: R, wiring: Wiring) -> Self {
        Self {
            registers,
            wiring,
            receiver: UnsafeCell::new(Receiver::new()),
            state: RefCell::new(None),
            changed: Signal::new(),
        }
    }

    /// Gives the receiver to the console, and lets the UART's interrupts out. The core's own mask is the caller's.
    pub fn start(&self, now: Instant) {
        *self.state.borrow_mut() = Some(State {
            share: Share::new(now),
            line: LineSettings::DSMR4,
            mode: Mode::CONSOLE,
            quiet: None,
            patient_until: None,
            p1: WakerRegistration::new(),
            console: WakerRegistration::new(),
        });
        self.apply(Mode::CONSOLE);
    }

    fn apply(&self, mode: Mode) {
        // What comes in between is lost either way.
        self.receiver(|receiver| {
            mode.apply(self.wiring, &self.registers);
            receiver.serve(mode);
        });
    }

    fn receiver<T>(&self, look: impl FnOnce(&mut Receiver<N>) -> T) -> T {
        critical_section::with(|_| {
            // SAFETY: the handler is masked, and `look` of this file never comes here again.
            look(unsafe { &mut *self.receiver.get() })
        })
    }

    /// For the UART's interrupt; everything in it is inlined. [`turn`](Self::turn) has to be called soon after.
    ///
    /// # Safety
    /// Called by the handler alone, which no task and no other interrupt that calls this can interrupt.
    #[inline(always)]
    pub unsafe fn on_interrupt(&self) {
        // SAFETY: tasks mask the handler while they have it, and nobody interrupts the handler.
        let receiver = unsafe { &mut *self.receiver.get() };
        receiver.on_interrupt(&self.registers);
    }

    /// Bytes since start, for who waits for the line to be silent. It begins anew at the end of its 32 bits.
    pub fn received(&self) -> u32 {
        self.receiver(|receiver| receiver.total)
    }

    /// Wakes whoever waits for what came. For the executor, each time before it polls tasks.
    pub fn turn(&self) {
        if let Some(state) = self.state.borrow_mut().as_mut() {
            state.patient_until = None;
        }
        let (news, typed) =
            self.receiver(|receiver| (core::mem::take(&mut receiver.news), receiver.typed));
        if !news {
            return;
        }
        if let Some(state) = self.state.borrow_mut().as_mut() {
            match state.mode.owner {
                Owner::P1 => state.p1.wake(),
                Owner::Console => state.console.wake(),
            }
        }
        if typed {
            self.changed.signal(());
        }
    }

    /// Gives the receiver to console and P1 in turn and asks for telegrams, for ever.
    pub async fn keep(&self, request: &mut impl Output) -> Infallible {
        loop {
            let next = self.look(Instant::now(), request);
            let timer = async {
                match next {
                    Some(next) => Timer::at(next).await,
                    None => core::future::pending().await,
                }
            };
            select(self.changed.wait(), timer).await;
        }
    }

    /// Does what is due, and says when more will be.
    fn look(&self, now: Instant, request: &mut impl Output) -> Option<Instant> {
        let typed = self.receiver(|receiver| core::mem::take(&mut receiver.typed));
        let mut state = self.state.borrow_mut();
        let state = state.as_mut()?;
        if typed {
            state.share.typed(now);
        }
        let mode = match state.share.owner(now) {
            Owner::Console => Mode::CONSOLE,
            Owner::P1 => Mode::p1(self.wiring, state.line),
        };
        if mode.owner == Owner::Console {
            // Before the receiver is the console's: a meter that goes on would be in its way.
            request.set(false);
        }
        if mode == state.mode {
            state.quiet = None;
        } else {
            let unsent = register::unsent(self.registers.read(register::STATUS));
            let quiet = state.quiet.get_or_insert(None);
            if unsent > 0 {
                *quiet = None;
                return Some(now + LAST_CHARACTER);
            }
            let quiet_at = *quiet.get_or_insert(now) + LAST_CHARACTER;
            if now < quiet_at {
                return Some(quiet_at);
            }
            self.apply(mode);
            state.mode = mode;
            state.quiet = None;
            state.console.wake();
        }
        if mode.owner == Owner::P1 {
            request.set(true);
        }
        state.share.changes(now)
    }

    fn poll(
        &self,
        owner: Owner,
        buffer: &mut [u8],
        waker: &core::task::Waker,
    ) -> Poll<Result<usize, Infallible>> {
        let mut state = self.state.borrow_mut();
        let Some(state) = state.as_mut() else {
            return Poll::Pending;
        };
        if state.mode.owner == owner {
            let count = self.receiver(|receiver| receiver.take(buffer));
            if count > 0 || buffer.is_empty() {
                return Poll::Ready(Ok(count));
            }
        }
        match owner {
            Owner::P1 => state.p1.register(waker),
            Owner::Console => state.console.register(waker),
        }
        Poll::Pending
    }

    /// Puts bytes into the transmitter's FIFO as far as there is room, but for the last `spare`.
    fn push(&self, bytes: &[u8], spare: u32) -> usize {
        let state = self.state.borrow();
        if state.as_ref().is_none_or(|state| state.quiet.is_some()) {
            return 0;
        }
        let unsent = register::unsent(self.registers.read(register::STATUS));
        let room = (register::FIFO_BYTES - spare).saturating_sub(unsent) as usize;
        let count = room.min(bytes.len());
        for byte in bytes.iter().take(count) {
            self.registers.write(register::FIFO, u32::from(*byte));
        }
        count
    }

    /// Whether somebody who holds everybody up may go on waiting for room.
    fn is_patient(&self, now: Instant) -> bool {
        let mut state = self.state.borrow_mut();
        // Before another mode nothing more is taken.
        let state = state.as_mut().filter(|state| state.quiet.is_none());
        state.is_some_and(|state| now < *state.patient_until.get_or_insert(now + LINES))
    }

    /// The P1 port. There is one line: make one.
    pub const fn p1(&self) -> P1<'_, R, N> {
        P1 { uart: self }
    }

    /// Where commands are typed and answered.
    pub const fn console(&self) -> Console<'_, R, N> {
        Console { uart: self }
    }

    /// Where events are told, by the clock `now`.
    pub const fn log(&self, now: fn() -> Instant) -> Log<'_, R, N> {
        Log {
            uart: self,
            now,
            is_begun: false,
        }
    }
}

/// UART0 as the meter's port.
pub struct P1<'u, R, const N: usize> {
    uart: &'u Uart0<R, N>,
}

impl<R: Registers, const N: usize> Port for P1<'_, R, N> {
    type Error = Infallible;

    fn read(&mut self, buffer: &mut [u8]) -> impl Future<Output = Result<usize, Infallible>> {
        poll_fn(|context| self.uart.poll(Owner::P1, buffer, context.waker()))
    }

    fn set_line(&mut self, line: LineSettings) {
        if let Some(state) = self.uart.state.borrow_mut().as_mut() {
            state.line = line;
        }
        self.uart.changed.signal(());
    }

    /// While the console has the receiver nothing is asked of the meter; [`Uart0::keep`] does when that is over.
    fn request(&mut self, asserted: bool) {
        if let Some(state) = self.uart.state.borrow_mut().as_mut() {
            state.share.ask(asserted);
        }
        self.uart.changed.signal(());
    }

    fn is_listening(&self) -> bool {
        let state = self.uart.state.borrow();
        (state.as_ref()).is_some_and(|state| state.mode.owner == Owner::P1)
    }

    fn line_errors(&self) -> LineErrors {
        self.uart.receiver(|receiver| receiver.errors)
    }
}

/// UART0 as the console.
#[derive(Clone, Copy)]
pub struct Console<'u, R, const N: usize> {
    uart: &'u Uart0<R, N>,
}

impl<R, const N: usize> ErrorType for Console<'_, R, N> {
    type Error = Infallible;
}

impl<R: Registers, const N: usize> Read for Console<'_, R, N> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        poll_fn(|context| self.uart.poll(Owner::Console, buffer, context.waker())).await
    }
}

impl<R: Registers, const N: usize> Write for Console<'_, R, N> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        loop {
            let count = self.uart.push(bytes, 0);
            if count > 0 || bytes.is_empty() {
                return Ok(count);
            }
            // A session looks once how much is taken, with a waker that is no task's: embassy's timers panic at those.
            yield_now().await;
            Timer::after(LOOK).await;
        }
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// UART0's transmitter for lines of events. It waits a little for room; what then does not fit of a line is left out, and the lines behind
/// it as long as there is none, since nobody else runs meanwhile.
pub struct Log<'u, R, const N: usize> {
    uart: &'u Uart0<R, N>,
    now: fn() -> Instant,
    /// Something of the line has been sent, so that its end has to be.
    is_begun: bool,
}

impl<R: Registers, const N: usize> uWrite for Log<'_, R, N> {
    type Error = Infallible;

    fn write_str(&mut self, text: &str) -> Result<(), Infallible> {
        for piece in text.split_inclusive('\n') {
            let is_end = piece.ends_with('\n');
            // The line's end has room whatever is left out.
            self.put(piece.trim_end_matches('\n').as_bytes(), 2);
            if is_end && core::mem::take(&mut self.is_begun) {
                self.put(b"\r\n", 0);
            }
        }
        Ok(())
    }
}

impl<R: Registers, const N: usize> Log<'_, R, N> {
    fn put(&mut self, mut rest: &[u8], spare: u32) {
        loop {
            let count = self.uart.push(rest, spare);
            self.is_begun |= count > 0;
            rest = rest.get(count..).unwrap_or_default();
            if rest.is_empty() || !self.uart.is_patient((self.now)()) {
                return;
            }
        }
    }
}
