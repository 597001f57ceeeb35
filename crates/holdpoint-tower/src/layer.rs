use crate::GateService;
use holdpoint_core::Gate;
use std::sync::Arc;
use tower_layer::Layer;

/// Admits calls through a [`Gate`].
#[derive(Clone, Debug)]
pub struct GateLayer<A> {
    gate: Arc<Gate>,
    adapter: A,
}

impl<A> GateLayer<A> {
    /// `adapter` turns refusals and kept results into responses.
    pub fn new(gate: Arc<Gate>, adapter: A) -> Self {
        Self { gate, adapter }
    }
}

impl<S, A: Clone> Layer<S> for GateLayer<A> {
    type Service = GateService<S, A>;

    fn layer(&self, inner: S) -> Self::Service {
        GateService::new(Arc::clone(&self.gate), self.adapter.clone(), inner)
    }
}
