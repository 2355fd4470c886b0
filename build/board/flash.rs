//! What lies where in a board's flash chip.

use serde::Deserialize;
use toml::Spanned;

use super::Region;

/// Declares the areas that a chip has, and those that it may have: each becomes a constant of the code.
macro_rules! areas {
    ($($name:ident $constant:ident,)* ; $($more:ident $more_constant:ident,)*) => {
        /// The table `flash`.
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Flash {
            /// The chip's bytes.
            size: Spanned<u32>,
            $($name: Spanned<Region>,)*
            $($more: Option<Spanned<Region>>,)*
        }

        impl Flash {
            fn areas(&self) -> impl Iterator<Item = (&'static str, &'static str, &Spanned<Region>)> {
                let here = [$((stringify!($name), stringify!($constant), Some(&self.$name)),)*
                    $((stringify!($more), stringify!($more_constant), self.$more.as_ref()),)*];
                here.into_iter().filter_map(|(name, constant, area)| Some((name, constant, area?)))
            }
        }
    };
}

areas! {
    image IMAGE,
    settings SETTINGS,
    log LOG,
    vendor VENDOR,
    ;
    staging STAGING,
    outage OUTAGE,
}

/// What is erased at once.
const SECTOR: u32 = 0x1000;

/// Chips that the ROM's loader knows and that hold an image.
const SIZES: [u32; 3] = [0x10_0000, 0x20_0000, 0x40_0000];

/// The SDK's own: calibration, PHY data and three of parameters, always the chip's last (ESP8266 Non-OS SDK's flash map).
const VENDOR: u32 = 5 * SECTOR;

/// Where flash is mapped, and how much of it.
const MAPPED: u32 = 0x4020_0000;
const WINDOW: u32 = 0x10_0000;

/// Where code is mapped: the image's second file lies behind what the ROM copies to RAM, at 0x10000.
pub const CODE: u32 = MAPPED + 0x1_0000;

impl Flash {
    /// What contradicts itself or the chip, and where.
    pub fn problem(&self) -> Option<(usize, String)> {
        let size = *self.size.get_ref();
        if !SIZES.contains(&size) {
            let valid: Vec<_> = SIZES.iter().map(|size| format!("{size:#x}")).collect();
            let problem = format!("size is {size:#x}: valid are {}", valid.join(", "));
            return Some((self.size.span().start, problem));
        }
        let mut earlier: Vec<(&str, &Region)> = Vec::new();
        for (name, _, area) in self.areas() {
            let at = area.span().start;
            let area = area.get_ref();
            if let Some(wrong) = self.unfit(name, area, &earlier) {
                return Some((at, wrong));
            }
            earlier.push((name, area));
        }
        None
    }

    fn unfit(&self, name: &str, area: &Region, earlier: &[(&str, &Region)]) -> Option<String> {
        let Region { origin, length } = *area;
        let size = *self.size.get_ref();
        if length == 0 || origin % SECTOR != 0 || length % SECTOR != 0 {
            return Some(format!(
                "`{name}` is {length:#x} bytes at {origin:#x}: both have to be sectors of {SECTOR:#x}, and one at least"
            ));
        }
        let end = area.end();
        if end > u64::from(size) {
            return Some(format!("`{name}` ends at {end:#x}, the chip at {size:#x}"));
        }
        let overlapping = |(_, other): &&(&str, &Region)| {
            u64::from(origin) < other.end() && u64::from(other.origin) < end
        };
        if let Some((other, Region { origin, .. })) = earlier.iter().find(overlapping) {
            return Some(format!(
                "`{name}` overlaps `{other}`, which is at {origin:#x}"
            ));
        }
        let vendor = size - VENDOR;
        match name {
            "image" if origin != 0 => Some(format!(
                "`image` is at {origin:#x}: the chip starts what is at 0"
            )),
            "image" if end > u64::from(WINDOW) => Some(format!(
                "`image` ends at {end:#x}, and the chip maps flash up to {WINDOW:#x}"
            )),
            "staging" if length < self.image.get_ref().length => Some(format!(
                "`staging` has {length:#x} bytes, and an image may have {:#x}",
                self.image.get_ref().length
            )),
            "vendor" if (origin, length) != (vendor, VENDOR) => Some(format!(
                "`vendor` is {length:#x} bytes at {origin:#x}: the SDK has {VENDOR:#x} at {vendor:#x}"
            )),
            _ => None,
        }
    }

    /// Why mapped `code` does not lie in the image.
    pub fn misplaced(&self, code: &Region) -> Option<String> {
        let image = self.image.get_ref();
        let from = u64::from(MAPPED) + u64::from(image.origin);
        let to = u64::from(MAPPED) + image.end();
        let (origin, end) = (u64::from(code.origin), code.end());
        (origin < from || end > to).then(|| {
            format!(
                "memory `irom` is {origin:#x} to {end:#x}, and the area `image` is mapped at {from:#x} to {to:#x}"
            )
        })
    }

    /// The map as constants of the code.
    pub fn code(&self) -> String {
        let mut code =
            String::from("// Generated from the board's [flash] by build.rs. Do not edit.\n");
        code += &format!(
            "/// The chip's bytes.\npub const SIZE: u32 = {:#x};\n",
            self.size.get_ref()
        );
        for (name, constant, area) in self.areas() {
            let area = area.get_ref();
            code += &format!("/// The area `{name}`.\n");
            code += &format!(
                "pub const {constant}: core::ops::Range<u32> = {:#x}..{:#x};\n",
                area.origin,
                area.end()
            );
        }
        code
    }
}

impl Region {
    fn end(&self) -> u64 {
        u64::from(self.origin) + u64::from(self.length)
    }
}
