//! `one_leader`: in one leader epoch one broker leads a partition (R10).

use crate::check::Violation;
use std::collections::BTreeMap;

/// Who led in which epoch.
#[derive(Clone, Debug, Default)]
pub(super) struct Leaders(BTreeMap<i32, usize>);

impl Leaders {
    /// A broker says that it leads in an epoch; whether that is newer than every one before.
    pub(super) fn note(&mut self, name: &str, node: usize, epoch: i32) -> Result<bool, Violation> {
        let is_new = self.0.last_key_value().is_none_or(|(newest, _)| *newest < epoch);
        match *self.0.entry(epoch).or_insert(node) {
            leader if leader == node => Ok(is_new),
            leader => Err(Violation {
                property: "one_leader",
                sentence: format!(
                    "node {node} leads {name} in epoch {epoch}, in which node {leader} has led it"
                ),
            }),
        }
    }

    /// Who leads in the newest epoch, if that is not this one.
    pub(super) fn successor_of(&self, epoch: Option<i32>) -> Option<usize> {
        self.0.last_key_value().filter(|(newest, _)| Some(**newest) != epoch).map(|(_, node)| *node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_has_one_leader() {
        let mut leaders = Leaders::default();
        assert_eq!(leaders.note("orders-0", 1, 4), Ok(true));
        assert_eq!(leaders.note("orders-0", 1, 4), Ok(false));
        assert_eq!(leaders.note("orders-0", 2, 3), Ok(false), "who was late to know");
        assert!(leaders.note("orders-0", 2, 4).is_err());
        assert_eq!(leaders.successor_of(Some(3)), Some(1));
        assert_eq!(leaders.successor_of(Some(4)), None);
    }
}
