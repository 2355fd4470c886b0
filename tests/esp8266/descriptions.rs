//! The model's numbers against the published descriptions of the registers (the `esp8266` crate, made of the vendor's headers).
#![allow(unsafe_code)] // Register blocks in plain memory.

use std::mem::MaybeUninit;
use std::ptr::from_ref;

use esp8266::{DPORT, GPIO, IO_MUX, UART0, dport, gpio, io_mux, uart0};

use crate::chip;

/// Registers in memory.
fn block<T>() -> Box<T> {
    // SAFETY: these blocks are made of words alone.
    unsafe { Box::new(MaybeUninit::<T>::zeroed().assume_init()) }
}

/// The chip's address of `register`, which is in `block`.
fn address<B, R>(start: *const B, block: &B, register: &R) -> u32 {
    let offset = from_ref(register) as usize - from_ref(block) as usize;
    u32::try_from(start as usize + offset).unwrap()
}

#[test]
fn registers_are_where_the_model_has_them() {
    let uart = block::<uart0::RegisterBlock>();
    let at = |found: u32, expected: u32| assert_eq!(found, expected, "{found:#x}");
    at(address(UART0::PTR, &*uart, &uart.uart_fifo), chip::FIFO);
    at(
        address(UART0::PTR, &*uart, &uart.uart_int_raw),
        chip::INT_RAW,
    );
    at(address(UART0::PTR, &*uart, &uart.uart_int_st), chip::INT_ST);
    at(
        address(UART0::PTR, &*uart, &uart.uart_int_ena),
        chip::INT_ENA,
    );
    at(
        address(UART0::PTR, &*uart, &uart.uart_int_clr),
        chip::INT_CLR,
    );
    at(address(UART0::PTR, &*uart, &uart.uart_clkdiv), chip::CLKDIV);
    at(address(UART0::PTR, &*uart, &uart.uart_status), chip::STATUS);
    at(address(UART0::PTR, &*uart, &uart.uart_conf0), chip::CONF0);
    at(address(UART0::PTR, &*uart, &uart.uart_conf1), chip::CONF1);
    let pins = block::<gpio::RegisterBlock>();
    at(address(GPIO::PTR, &*pins, &pins.gpio_out), chip::OUT);
    at(
        address(GPIO::PTR, &*pins, &pins.gpio_out_w1ts),
        chip::OUT_W1TS,
    );
    at(
        address(GPIO::PTR, &*pins, &pins.gpio_out_w1tc),
        chip::OUT_W1TC,
    );
    at(address(GPIO::PTR, &*pins, &pins.gpio_enable), chip::ENABLE);
    at(
        address(GPIO::PTR, &*pins, &pins.gpio_enable_w1ts),
        chip::ENABLE_W1TS,
    );
    at(
        address(GPIO::PTR, &*pins, &pins.gpio_enable_w1tc),
        chip::ENABLE_W1TC,
    );
    let mux = block::<io_mux::RegisterBlock>();
    at(address(IO_MUX::PTR, &*mux, &mux.io_mux_mtck), chip::MTCK);
    at(address(IO_MUX::PTR, &*mux, &mux.io_mux_mtdo), chip::MTDO);
    at(address(IO_MUX::PTR, &*mux, &mux.io_mux_u0rxd), chip::U0RXD);
    at(address(IO_MUX::PTR, &*mux, &mux.io_mux_u0txd), chip::U0TXD);
    let ports = block::<dport::RegisterBlock>();
    at(address(DPORT::PTR, &*ports, &ports.ioswap), chip::IOSWAP);
}

#[test]
fn fields_are_where_the_model_has_them() {
    let uart = block::<uart0::RegisterBlock>();
    // SAFETY of all `bits`: any number of a field's width.
    uart.uart_conf0.write(|w| {
        let w = w.uart_rxd_inv().set_bit();
        unsafe { w.bit_num().bits(3).stop_bit_num().bits(1) }
    });
    assert_eq!(uart.uart_conf0.read().bits(), 1 << 19 | 3 << 2 | 1 << 4);
    uart.uart_conf0.write(|w| {
        let w = w.parity_en().set_bit().parity().clear_bit();
        unsafe { w.bit_num().bits(2).stop_bit_num().bits(1) }
    });
    assert_eq!(uart.uart_conf0.read().bits(), 1 << 1 | 2 << 2 | 1 << 4);
    uart.uart_conf0
        .write(|w| w.rxfifo_rst().set_bit().txfifo_rst().set_bit());
    assert_eq!(uart.uart_conf0.read().bits(), 3 << 17);
    uart.uart_conf0
        .write(|w| w.uart_loopback().set_bit().tx_flow_en().set_bit());
    assert_eq!(uart.uart_conf0.read().bits(), 1 << 14 | 1 << 15);
    uart.uart_conf1.write(|w| {
        let w = w.rx_tout_en().set_bit();
        unsafe { w.rx_tout_thrhd().bits(2).rxfifo_full_thrhd().bits(32) }
    });
    assert_eq!(uart.uart_conf1.read().bits(), 0x8200_0020);
    uart.uart_clkdiv
        .write(|w| unsafe { w.uart_clkdiv().bits(0xf_ffff) });
    assert_eq!(uart.uart_clkdiv.read().bits(), 0xf_ffff);
    for (bit, found) in [
        (chip::FULL, {
            uart.uart_int_ena
                .write(|w| w.rxfifo_full_int_ena().set_bit());
            uart.uart_int_ena.read().bits()
        }),
        (chip::PARITY, {
            uart.uart_int_ena
                .write(|w| w.parity_err_int_ena().set_bit());
            uart.uart_int_ena.read().bits()
        }),
        (chip::FRAME, {
            uart.uart_int_ena.write(|w| w.frm_err_int_ena().set_bit());
            uart.uart_int_ena.read().bits()
        }),
        (chip::OVERFLOW, {
            uart.uart_int_ena
                .write(|w| w.rxfifo_ovf_int_ena().set_bit());
            uart.uart_int_ena.read().bits()
        }),
        (chip::TIMEOUT, {
            uart.uart_int_ena
                .write(|w| w.rxfifo_tout_int_ena().set_bit());
            uart.uart_int_ena.read().bits()
        }),
    ] {
        assert_eq!(found, bit);
    }
    let mux = block::<io_mux::RegisterBlock>();
    mux.io_mux_mtck.write(|w| {
        let w = w.function_select_high_bit().set_bit().pullup().set_bit();
        unsafe { w.function_select_low_bits().bits(0) }
    });
    assert_eq!(mux.io_mux_mtck.read().bits(), 1 << 8 | 1 << 7);
    mux.io_mux_u0txd
        .write(|w| unsafe { w.function_select_low_bits().bits(3) });
    assert_eq!(mux.io_mux_u0txd.read().bits(), 3 << 4);
    let ports = block::<dport::RegisterBlock>();
    ports.ioswap.write(|w| w.uart0().set_bit());
    assert_eq!(ports.ioswap.read().bits(), 1 << 2);
}
