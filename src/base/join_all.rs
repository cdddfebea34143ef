//! Several works at once. `join_all` would bring a scheduler of its own for every type of work.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

pub type Work<'w> = Pin<Box<dyn Future<Output = ()> + 'w>>;

/// Carries out all of them. They are few: each is polled whenever one of them may have come further.
pub async fn join_all(mut works: Vec<Work<'_>>) {
    poll_fn(|context| {
        works.retain_mut(|work| work.as_mut().poll(context).is_pending());
        if works.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
