//! A configuration that is edited while it is in force: on SIGHUP, and when one of its files changed.
//!
//! What cannot be read is not taken: the old configuration stays, and the log says where the mistake is. What a running
//! process cannot change (servers, Gate, journal) is named, and waits for the next start.

use crate::wiring::Wiring;
use holdpoint_config::{Change, Config};
use std::{path::PathBuf, time::Duration};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Follows the configuration at `path` until the future is dropped.
pub(crate) async fn follow(path: PathBuf, mut inforce: Config, wiring: Wiring) {
    let mut hangups = hangups();
    let mut refused = None;
    loop {
        let asked = tokio::select! {
            () = hangups.next() => true,
            () = tokio::time::sleep(LOOK_EVERY) => false,
        };
        let looked = (path.clone(), inforce.sources.clone());
        let look = tokio::task::spawn_blocking(move || {
            let (path, sources) = looked;
            let loaded = (asked || sources.changed_since()).then(|| crate::configuration::load(&path))?;
            // A file that is being written may be read at a moment at which it makes sense: the next look has all of it.
            let half = loaded.as_ref().is_ok_and(|config| config.sources.changed_since());
            (!half).then_some(loaded)
        });
        let Ok(loaded) = look.await else {
            continue;
        };
        match loaded {
            None => {}
            Some(Ok(config)) => {
                refused = None;
                take(&wiring, &inforce, &config);
                inforce = config;
            }
            Some(Err(mistakes)) => {
                // Once for each version: the files are looked at every second.
                let text = mistakes.to_string();
                if asked || refused.as_ref() != Some(&text) {
                    tracing::error!(
                        "the configuration was changed and cannot be used; the old one stays in force\n{text}"
                    );
                }
                refused = Some(text);
            }
        }
    }
}

fn take(wiring: &Wiring, old: &Config, new: &Config) {
    let changes = holdpoint_config::what_changed(old, new);
    wiring.adopt(new);
    for change in changes {
        match change {
            Change::InForce(what) => tracing::warn!("configuration reloaded: {what}"),
            Change::AtNextStart(what) => {
                tracing::warn!("configuration reloaded, but this needs a restart: {what}");
            }
        }
    }
}

#[cfg(unix)]
struct Hangups(Option<tokio::signal::unix::Signal>);

#[cfg(unix)]
fn hangups() -> Hangups {
    Hangups(tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok())
}

#[cfg(unix)]
impl Hangups {
    async fn next(&mut self) {
        match &mut self.0 {
            Some(signal) => {
                if signal.recv().await.is_none() {
                    std::future::pending::<()>().await;
                }
            }
            None => std::future::pending().await,
        }
    }
}

#[cfg(not(unix))]
struct Hangups;

#[cfg(not(unix))]
fn hangups() -> Hangups {
    Hangups
}

#[cfg(not(unix))]
impl Hangups {
    async fn next(&mut self) {
        std::future::pending().await
    }
}
