//! Where Gate's webhooks are received: a path on our own listener, or a listener of its own.

use crate::{
    clock::SystemClock,
    listen::{self, Proxies, Site},
    wiring::Wiring,
};
use anyhow::Result;
use axum::body::Body;
use holdpoint_client::WebhookReceiver;
use holdpoint_config::WebhookSettings;
use http::{Request, Response};
use hyper::body::Incoming;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Strangers may reach this listener. However many connections they open, enough file descriptors are left for the journal
/// and the audit log, without which calls are refused; a doorbell that is not heard costs a moment.
const CONNECTIONS_MAX: usize = 64;

/// One path, and the receiver behind it.
#[derive(Debug)]
pub(crate) struct Doorbells {
    path: String,
    receiver: WebhookReceiver,
}

impl Doorbells {
    /// As the configuration says.
    pub(crate) fn new(settings: &WebhookSettings, wiring: &Wiring) -> Self {
        let receiver = wiring.approver().webhook_receiver(settings.secret.clone(), Arc::new(SystemClock));
        Self { path: settings.path.clone(), receiver }
    }

    /// Answers a request to the path; gives back any other.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Request<Incoming>> {
        if request.uri().path() != self.path {
            return Err(request);
        }
        Ok(self.receiver.receive(request).await.map(Body::from))
    }
}

/// No proxies: a listener for webhooks alone.
#[derive(Debug)]
struct Nothing;

impl Proxies for Nothing {
    async fn serve(&self, _: &str, request: Request<Incoming>) -> Result<Response<Body>, Request<Incoming>> {
        Err(request)
    }

    fn describe(&self, _: &Request<Incoming>) -> Option<Response<Body>> {
        None
    }
}

/// Listens for webhooks until `stop`, where the configuration gives them a listener of their own.
pub(crate) async fn listen(
    settings: Option<&WebhookSettings>,
    wiring: &Wiring,
    stop: &CancellationToken,
) -> Result<()> {
    let Some((settings, address)) = settings.and_then(|settings| Some((settings, settings.listen?))) else {
        return Ok(());
    };
    let (listener, bound) = listen::bind(address).await?;
    tracing::info!(%bound, path = settings.path, "listening for Gate's webhooks");
    let doorbells = Some(Doorbells::new(settings, wiring));
    let site = Site { connections_max: CONNECTIONS_MAX, proxies: Nothing, gate: None, doorbells };
    tokio::spawn(listen::serve(listener, site, stop.clone()));
    Ok(())
}
