//! How a closed set of counters or labels is declared: its variants with the fixed text of each.

/// Declares a closed enum together with the fixed text of each variant.
macro_rules! closed_enum {
    ($(#[$doc:meta])* $name:ident { $($variant:ident: $row:expr => $help:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum $name { $(#[doc = $help] $variant,)+ }

        impl $name {
            /// Every variant, in the order of declaration.
            pub const ALL: [Self; [$(stringify!($variant)),+].len()] = [$(Self::$variant),+];

            /// The name that is exported.
            pub fn name(self) -> &'static str {
                self.row().0
            }

            pub(in crate::metrics) fn row(self) -> (&'static str, Option<Unit>, &'static str) {
                let (row, help): ((_, Option<Unit>), _) = match self {
                    $(Self::$variant => ($row, $help),)+
                };
                (row.0, row.1, help)
            }
        }
    };
}

pub(super) use closed_enum;
