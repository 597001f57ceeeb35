use holdpoint_api::SecretHash;
use holdpoint_api::declare::Role;
use holdpoint_store::{CreateUser, LinkOutcome, NewUser, User};
use jiff::Timestamp;

use super::{GateError, GateServer, OPERATOR, later};
use crate::random;

/// A link that signs somebody in, once.
#[derive(Clone)]
pub struct SignInLink {
    /// The link itself: a secret until it is used.
    pub url: String,
    /// Who it signs in.
    pub user: String,
    /// Until when.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for SignInLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignInLink").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Somebody who is signed in.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    pub(crate) name: String,
    pub(crate) session: SecretHash,
}

/// How signing in went.
#[derive(Debug)]
pub(crate) enum SignIn {
    /// The session's secret goes into the cookie and nowhere else.
    Welcome {
        session: String,
    },
    Used,
    Expired,
    Invalid,
}

impl GateServer {
    /// A fresh one-time link for `user`; without a name, for the operator.
    pub async fn sign_in_link(&self, user: Option<&str>) -> Result<SignInLink, GateError> {
        let name = user.unwrap_or(OPERATOR);
        let no_such_user = || GateError::NoSuchUser(name.to_owned());
        let found = self.store().user_by_name(name).await?.ok_or_else(no_such_user)?;
        if !self.is_welcome(&found).await? {
            return Err(no_such_user());
        }
        let token = random::secret_text()?;
        let now = self.now();
        let expires_at = later(now, self.options.link_ttl);
        self.store().create_link(found.id, SecretHash::of(&token), expires_at, now).await?;
        let url = format!("{}/sign-in?token={token}", self.public.origin);
        Ok(SignInLink { url, user: found.name, expires_at })
    }

    /// Uses a link up and starts a session.
    pub(crate) async fn sign_in(&self, unverified_token: &str) -> Result<SignIn, GateError> {
        let now = self.now();
        let user = match self.store().redeem_link(SecretHash::of(unverified_token), now).await? {
            LinkOutcome::SignedIn(user) => user,
            LinkOutcome::Used => return Ok(SignIn::Used),
            LinkOutcome::Expired => return Ok(SignIn::Expired),
            LinkOutcome::Invalid => return Ok(SignIn::Invalid),
        };
        if !self.is_welcome(&user).await? {
            return Ok(SignIn::Invalid);
        }
        let session = random::secret_text()?;
        let expires_at = later(now, self.options.session_ttl);
        self.store().create_session(user.id, SecretHash::of(&session), expires_at, now).await?;
        Ok(SignIn::Welcome { session })
    }

    /// Whose session it is. A user who is no longer declared is nobody, whatever sessions they have.
    pub(crate) async fn visitor(&self, unverified_session: &str) -> Result<Option<Visitor>, GateError> {
        let session = SecretHash::of(unverified_session);
        let Some(user) = self.store().session(session, self.now()).await? else { return Ok(None) };
        if !self.is_welcome(&user).await? {
            return Ok(None);
        }
        Ok(Some(Visitor { name: user.name, session }))
    }

    pub(crate) async fn sign_out(&self, visitor: &Visitor) -> Result<(), GateError> {
        self.store().end_session(visitor.session).await?;
        self.store().record_access(&visitor.name, "signed out", self.now()).await?;
        Ok(())
    }

    async fn is_welcome(&self, user: &User) -> Result<bool, GateError> {
        let declared = &self.setup().await?.declaration.users;
        Ok(user.name == OPERATOR || declared.iter().any(|declared| declared.name == user.name))
    }

    /// The first user, so that there is somebody who can sign in.
    pub(super) async fn ensure_operator(&self) -> Result<(), GateError> {
        if self.store().user_by_name(OPERATOR).await?.is_some() {
            return Ok(());
        }
        let operator =
            NewUser { name: OPERATOR.to_owned(), password_hash: None, role: Role::Admin, now: self.now() };
        match self.store().create_user(operator).await? {
            CreateUser::Created(_) | CreateUser::NameTaken(_) => Ok(()),
        }
    }
}
