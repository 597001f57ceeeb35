use crate::Adapter;
use holdpoint_core::{Admission, Caller, Gate, PermittedCall, ToolCall};
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tower::util::ServiceExt as _;
use tower_service::Service;

/// A call with the terms of its caller.
#[derive(Clone, Debug)]
pub struct Attended {
    /// What is called.
    pub call: ToolCall,
    /// How long the caller waits, and whether it is still there; `None`: as the gate's limits say.
    pub caller: Option<Caller>,
}

impl From<ToolCall> for Attended {
    fn from(call: ToolCall) -> Self {
        Self { call, caller: None }
    }
}

/// See [`crate::GateLayer`].
#[derive(Clone, Debug)]
pub struct GateService<S, A> {
    gate: Arc<Gate>,
    adapter: A,
    inner: S,
}

impl<S, A> GateService<S, A> {
    pub(crate) fn new(gate: Arc<Gate>, adapter: A, inner: S) -> Self {
        Self { gate, adapter, inner }
    }
}

impl<S, A> Service<Attended> for GateService<S, A>
where
    S: Service<PermittedCall> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: 'static,
    S::Error: 'static,
    A: Adapter<S::Response>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    /// Always ready: reserving the tool's capacity for as long as a call may be held would starve the calls that need
    /// no person. How many may wait is bounded by the gate.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, attended: Attended) -> Self::Future {
        let Self { gate, adapter, inner } = self.clone();
        Box::pin(async move {
            let Attended { call, caller } = attended;
            let admission = match caller {
                Some(caller) => gate.admit_for(call, caller).await,
                None => gate.admit(call).await,
            };
            match admission {
                Ok(Admission::Run(permitted)) => inner.oneshot(permitted).await,
                Ok(Admission::Replay(result, delivery)) => Ok(adapter.replay(result, delivery)),
                Err(rejection) => Ok(adapter.reject(&rejection)),
            }
        })
    }
}
