//! What a disk did to its files, counted.

macro_rules! marks {
    ($($(#[$doc:meta])+ $field:ident = $name:literal,)+) => {
        /// What faults, losses of power and deaths of the process came to; a sweep in which one never happened proves
        /// nothing about it.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct DiskMarks {
            $($(#[$doc])+ pub $field: u64,)+
        }

        impl DiskMarks {
            const COUNT: usize = [$($name),+].len();

            /// Adds the counts of another run.
            pub const fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)+
            }

            /// Every mark by name.
            #[must_use]
            pub const fn named(&self) -> [(&'static str, u64); Self::COUNT] {
                [$(($name, self.$field)),+]
            }
        }
    };
}

marks! {
    /// Files that lost all that was not synced.
    lost_suffix = "disk.lost_suffix",
    /// Files that kept a part of what was not synced, ending in the middle of a write or sector.
    torn = "disk.torn",
    /// Files in which sectors that were not synced came back as zeros.
    zeroed = "disk.zeroed",
    /// Files that were never synced and are gone.
    vanished = "disk.vanished",
    /// Files whose unsynced truncation was undone.
    untruncated = "disk.untruncated",
    /// Operations under way that still happened.
    in_flight_applied = "disk.in_flight_applied",
    /// Operations under way that did not happen, or not whole.
    in_flight_lost = "disk.in_flight_lost",
    /// Appends and truncations that failed.
    writes_failed = "disk.write_failed",
    /// Failed appends that wrote a part of their bytes.
    partial_writes = "disk.partial_write",
    /// Reads and listings that failed.
    reads_failed = "disk.read_failed",
    /// Syncs, replacements, renames and removals that failed.
    syncs_failed = "disk.sync_failed",
    /// Files that lost in a loss of power what a failed sync had left in the page cache alone.
    pages_lost = "disk.pages_lost",
    /// Operations for which there was no room.
    full = "disk.full",
    /// Operations that waited until the disk went on.
    stalled = "disk.stalled",
    /// An operation failed because its log directory was lost.
    lost = "disk.directory_lost",
    /// Writes of which a loss of power showed that they never reached the platters.
    phantoms_revealed = "disk.phantom_revealed",
    /// Places where a loss of power showed that a write had gone to another; each such write has two.
    misdirected_revealed = "disk.misdirected_revealed",
    /// Bits that flipped.
    bits_rotted = "disk.bit_rotted",
}
