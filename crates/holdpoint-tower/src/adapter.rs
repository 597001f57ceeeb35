use holdpoint_core::{Delivery, Rejection, StoredResult};

/// Words the kernel's answers in the response type of a tool service.
pub trait Adapter<Response>: Clone + Send + Sync + 'static {
    /// The call did not run.
    fn reject(&self, rejection: &Rejection) -> Response;

    /// The call ran already, for this same approval; its result was never delivered. `result` is in the encoding that
    /// the tool service gave to [`holdpoint_core::Completion::finish`].
    fn replay(&self, result: StoredResult, delivery: Delivery) -> Response;
}

/// An adapter of two functions: how a refusal is told, and how a kept result becomes a response again.
#[derive(Clone, Copy, Debug)]
pub struct Refuse<F, G>(pub F, pub G);

impl<F, G, Response> Adapter<Response> for Refuse<F, G>
where
    F: Fn(&Rejection) -> Response + Clone + Send + Sync + 'static,
    G: Fn(&[u8]) -> Response + Clone + Send + Sync + 'static,
{
    fn reject(&self, rejection: &Rejection) -> Response {
        (self.0)(rejection)
    }

    /// The next identical call gets the result once more: this adapter cannot know whether it arrived.
    fn replay(&self, result: StoredResult, delivery: Delivery) -> Response {
        drop(delivery);
        (self.1)(result.as_bytes())
    }
}
