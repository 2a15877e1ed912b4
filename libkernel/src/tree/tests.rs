//! The tree against an ordinary ordered map, its shape, and what its operations visit.

use super::*;
use proptest::prelude::*;

#[derive(Debug)]
struct Item {
    key: u32,
    weight: u32,
    least: u32,
    links: Links<Box<Item>>,
}

impl Element for Box<Item> {
    type Key = u32;
    fn key(&self) -> u32 {
        self.key
    }
    fn before(a: &u32, b: &u32) -> bool {
        a < b
    }
    fn links(&self) -> &Links<Self> {
        &self.links
    }
    fn links_mut(&mut self) -> &mut Links<Self> {
        &mut self.links
    }
    fn update_aggregate(&mut self) {
        self.least = least(self);
    }
}

fn least(item: &Item) -> u32 {
    let below = item.links.left().into_iter().chain(item.links.right()).map(|item| item.least);
    below.fold(item.weight, u32::min)
}

fn item(key: u32) -> Box<Item> {
    Box::new(Item { key, weight: key.wrapping_mul(2_654_435_761), least: 0, links: Links::new() })
}

proptest! {
    #[test]
    fn the_tree_does_what_a_sorted_list_does(operations in prop::collection::vec((0..4u8, 0..300u32), 1..400)) {
        let mut tree = Tree::new();
        let mut model = alloc::collections::BTreeMap::new();
        for (operation, key) in operations {
            match operation {
                0 | 1 if !model.contains_key(&key) => {
                    let item = item(key);
                    model.insert(key, item.weight);
                    tree.insert(item);
                }
                2 => prop_assert_eq!(tree.remove(&key).map(|item| item.key), model.remove(&key).map(|_| key)),
                _ => prop_assert_eq!(tree.pop_first().map(|item| item.key), model.pop_first().map(|(key, _)| key)),
            }
            tree.check(|item| item.least == least(item));
            prop_assert_eq!(tree.first().map(|item| item.key), model.first_key_value().map(|(key, _)| *key));
            let limit = 1 << 30;
            let found = tree.first_where(|item| item.least < limit, |item| item.weight < limit).map(|item| item.key);
            prop_assert_eq!(found, model.iter().find(|(_, weight)| **weight < limit).map(|(key, _)| *key));
            prop_assert_eq!(tree.get(&key).map(|item| item.key), model.get(&key).map(|_| key));
            for order in [Order::Forwards, Order::Backwards] {
                let mut some = Vec::new();
                tree.try_for_each_in(order, |item| item.least < limit, |item| {
                    if item.weight < limit {
                        some.push(item.key);
                    }
                    if some.len() < 5 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                });
                let mut all: Vec<_> = model.iter().filter(|(_, weight)| **weight < limit).map(|(key, _)| *key).collect();
                if order == Order::Backwards {
                    all.reverse();
                }
                all.truncate(5);
                prop_assert_eq!(some, all);
            }
        }
    }
}

#[test]
fn work_grows_with_the_logarithm_of_the_size() {
    let mut tree = Tree::new();
    for key in 0..4096 {
        tree.insert(item(key));
        assert!(tree.take_visits() <= 18);
    }
    for key in (1..4096).step_by(3) {
        assert!(tree.remove(&key).is_some());
        assert!(tree.take_visits() <= 2 * 12 + 4);
    }
    while tree.pop_first().is_some() {
        assert!(tree.take_visits() <= 18);
    }
}
