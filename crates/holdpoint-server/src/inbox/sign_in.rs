use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{StatusCode, header};
use serde::Deserialize;

use super::failure::PageFailure;
use super::page::{Message, render};
use super::session::set_cookie;
use crate::gate::{GateServer, SignIn, Visitor};

#[derive(Deserialize)]
pub(super) struct Token {
    token: Option<String>,
}

/// Following the link does not use it up: the button does. Mail scanners and link previews follow links.
#[derive(Debug, Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    token: Option<String>,
}

#[derive(Debug, Template)]
#[template(path = "come_again.html")]
struct ComeAgainPage;

pub(super) async fn show(token: Result<Query<Token>, QueryRejection>) -> Response {
    let token = token.ok().and_then(|Query(Token { token })| token);
    render(StatusCode::OK, &SignInPage { token })
}

pub(super) fn come_again() -> Response {
    render(StatusCode::OK, &ComeAgainPage)
}

pub(super) async fn enter(
    State(gate): State<Arc<GateServer>>,
    form: Result<Form<Token>, FormRejection>,
) -> Result<Response, PageFailure> {
    let Form(Token { token }) =
        form.map_err(|error| PageFailure::BadForm(error.status(), error.body_text()))?;
    let unverified_token = token.unwrap_or_default();
    match gate.sign_in(&unverified_token).await? {
        SignIn::Welcome { session } => {
            let cookie = set_cookie(&gate.public, &session, gate.options.session_ttl.as_secs());
            Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response())
        }
        SignIn::Used => {
            Ok(refuse("This link was used before. If that was not you, end the session it started."))
        }
        SignIn::Expired => Ok(refuse("This link is too old.")),
        SignIn::Invalid => Ok(refuse("This is no sign-in link of this Gate.")),
    }
}

fn refuse(words: &str) -> Response {
    Message::new("Not signed in")
        .say(words)
        .say("Each link works once and not for long. Start Holdpoint again, or ask whoever runs it, for a fresh one.")
        .answer(StatusCode::FORBIDDEN)
}

pub(super) async fn leave(
    State(gate): State<Arc<GateServer>>,
    visitor: Visitor,
) -> Result<Response, PageFailure> {
    gate.sign_out(&visitor).await?;
    let cookie = set_cookie(&gate.public, "", 0);
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/sign-in")).into_response())
}
