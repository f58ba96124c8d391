//! The few lines of `meta.properties`: keys and values as Java writes them when neither holds anything special.

use alloc::collections::BTreeMap;
use alloc::string::String;

/// The entries of a properties file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Properties {
    entries: BTreeMap<String, String>,
}

impl Properties {
    /// Reads `key=value` lines; comments and lines that are neither are passed over.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let entries = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with(['#', '!']))
            .filter_map(|line| line.split_once(['=', ':']))
            .map(|(key, value)| (String::from(key.trim()), value.trim().replace('\\', "")))
            .collect();
        Self { entries }
    }

    /// The value of a key.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.entries.get(key).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_passed_over_and_escapes_undone() {
        let file = b"#\n#Sat Nov 21 03:20:00 UTC 2026\nversion=1\ncluster.id = a\\=b\nnode.id:3\n\n";
        let properties = Properties::parse(file);
        assert_eq!(properties.value("version"), Some("1"));
        assert_eq!(properties.value("cluster.id"), Some("a=b"));
        assert_eq!(properties.value("node.id"), Some("3"));
        assert_eq!(properties.value("#Sat Nov 21 03"), None);
    }
}
