use holdpoint_core::{Completion, Outcome, PermittedCall, ToolCall};
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};
use tower_service::Service;

/// Lets an ordinary `Service<ToolCall>` take permits, and records what came of each: an answer is `done`, an error or
/// a dropped future is *outcome unknown*.
#[derive(Clone, Debug)]
pub struct RunOnce<S, E> {
    inner: S,
    encode: E,
}

impl<S, E> RunOnce<S, E> {
    /// `encode` turns an answer into the bytes that are kept for a caller that left.
    pub fn new(inner: S, encode: E) -> Self {
        Self { inner, encode }
    }
}

impl<S, E> Service<PermittedCall> for RunOnce<S, E>
where
    S: Service<ToolCall>,
    S::Future: Send + 'static,
    S::Response: Send + Sync,
    S::Error: Send,
    E: Fn(&S::Response) -> Vec<u8> + Clone + Send + Sync + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, permitted: PermittedCall) -> Self::Future {
        let (call, _receipt, completion) = permitted.into_parts();
        let run = self.inner.call(call);
        let encode = self.encode.clone();
        Box::pin(async move {
            let answer = run.await;
            record(completion, answer.as_ref().ok().map(encode)).await;
            answer
        })
    }
}

/// The caller of a tower service has the answer when the future resolves, as far as this layer can tell.
async fn record(completion: Completion, kept: Option<Vec<u8>>) {
    match kept {
        Some(bytes) => completion.finish(Outcome::succeeded(bytes)).await.delivered().await,
        None => completion.lose().await,
    }
}
