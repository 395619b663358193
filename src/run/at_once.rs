//! Work of which so much is done at once, while the rest waits as the little that it is about.

use std::collections::VecDeque;
use std::future::Future;

use tokio::task::{JoinError, JoinSet};

/// Pieces of work: `work` makes one of an item when its turn comes.
#[derive(Debug)]
pub struct AtOnce<T, R, W> {
    most: usize,
    waiting: VecDeque<T>,
    running: JoinSet<R>,
    work: W,
}

impl<T, R, W, F> AtOnce<T, R, W>
where
    R: Send + 'static,
    W: Fn(T) -> F,
    F: Future<Output = R> + Send + 'static,
{
    /// At most `most` at once.
    pub fn new(most: usize, work: W) -> Self {
        Self { most, waiting: VecDeque::new(), running: JoinSet::new(), work }
    }

    /// Begins with an item, now or when others are done.
    pub fn push(&mut self, item: T) {
        self.waiting.push_back(item);
        self.begin();
    }

    /// Nothing is left to do.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// The next that is done; `None` when nothing is left to do.
    pub async fn next(&mut self) -> Option<Result<R, JoinError>> {
        let done = self.running.join_next().await;
        self.begin();
        done
    }

    fn begin(&mut self) {
        while self.running.len() < self.most
            && let Some(item) = self.waiting.pop_front()
        {
            self.running.spawn((self.work)(item));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn no_more_are_begun_than_may_be_and_all_are_done() {
        let begun = Cell::new(0);
        let mut work = AtOnce::new(8, |item: u32| {
            begun.set(begun.get() + 1);
            async move { item }
        });
        assert!(work.next().await.is_none());
        (0..1000).for_each(|item| work.push(item));
        assert_eq!(begun.get(), 8);
        let mut done = Vec::new();
        while let Some(item) = work.next().await {
            done.push(item.unwrap());
            assert!(begun.get() <= done.len() + 8);
        }
        done.sort_unstable();
        assert_eq!(done, (0..1000).collect::<Vec<_>>());
        assert!(work.is_empty());
    }
}
