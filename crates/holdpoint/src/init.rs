//! `holdpoint init`: asks a server for its tools and writes a first configuration for them, for a person to review.
//!
//! A server's word makes nothing lax by itself here: who runs this reads what it wrote. What is written has passed
//! `holdpoint check`, or is taken back.

mod draft;
mod files;

use crate::{
    cli::InitArgs,
    commands::tools,
    configuration,
    data::DataFolder,
    pins::{OfNew, PinFolder},
    print,
};
use anyhow::{Context as _, Result, bail};
use files::{Placed, Written};
use holdpoint_config::{Config, printable};
use holdpoint_mcp::{ServerAddress, Survey, stdio::ChildCommand, survey_address, survey_command};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::{collections::BTreeMap, process::ExitCode};

pub(crate) async fn run(args: &InitArgs) -> Result<ExitCode> {
    let name = &args.server;
    let usual = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.');
    if name.is_empty() || name.starts_with('.') || !name.chars().all(usual) {
        bail!(
            "`{}` cannot be the name of a server\n  hint: use letters, digits, `-`, `_` and `.`",
            printable(name)
        );
    }
    let files = files::Files::of(&args.out, name)?;
    let existing = files.main_is_there().then(|| configuration::load_to_look(&args.out)).transpose()?;
    refuse_overwriting(args, &files, existing.as_ref())?;
    let survey = survey(args).await?;
    if survey.tools.is_empty() && survey.unusable.is_empty() {
        print::note("the server has no tools; whatever it gets later is asked about");
    }
    let knows = existing.as_ref().is_some_and(|config| knows(config, name));
    let draft = draft::draft(name, &survey, existing.is_none());
    let entry = (!knows).then(|| files::server_entry(args));
    let Written { placed, paths } = files.write(&draft, entry.as_deref())?;
    let pins = PinFolder::open(&DataFolder::open(&args.data.data)?)?;
    pins.look(name, &survey, OfNew::Pinned)?;
    for path in &paths {
        print::text(&format!("wrote {}", path.display()))?;
    }
    let tally = draft::tally(&survey);
    print::text(&format!(
        "{} tools: {} pass, since they say that they only read; {} are gated. Their definitions are pinned.",
        survey.tools.len(),
        tally.pass,
        tally.gated,
    ))?;
    for (tool, why) in &survey.unusable {
        print::note(&format!("left out: {}, {why}", printable(tool)));
    }
    if let Placed::ByHand(lines) = placed {
        print::text(&format!(
            "\nAdd this under `servers:` in {}, which is not written in a way that can be added to:\n\n{lines}",
            files.main().display()
        ))?;
    }
    let out = args.out.display();
    print::note(&format!(
        "next: read what was written, then `holdpoint check {out}` and `holdpoint up --config {out}`"
    ));
    Ok(ExitCode::SUCCESS)
}

fn knows(config: &Config, name: &str) -> bool {
    config.servers.keys().any(|server| server.as_str() == name)
}

fn refuse_overwriting(args: &InitArgs, files: &files::Files, existing: Option<&Config>) -> Result<()> {
    let given = args.url.is_some() || !args.command.is_empty();
    let known = existing.is_some_and(|config| knows(config, &args.server));
    if known && given {
        bail!(
            "the configuration has a server `{}`\n  hint: leave --url and COMMAND away to write files for its tools, or choose \
             another name",
            args.server
        );
    }
    if !known && !given {
        bail!(
            "there is no server `{0}` to ask\n  hint: holdpoint init --server {0} --url URL, or … -- COMMAND ARGS…",
            args.server
        );
    }
    let there = files.there();
    if !args.force && !there.is_empty() {
        bail!("already there: {}\n  hint: nothing was changed; --force replaces it", there.join(" and "));
    }
    Ok(())
}

async fn survey(args: &InitArgs) -> Result<Survey> {
    let name = &args.server;
    let hint = "does it run, and is it an MCP server?";
    let failed = || format!("the tools of server `{name}` cannot be listed\n  hint: {hint}");
    if let Some((program, arguments)) = args.command.split_first() {
        let mut command = ChildCommand::new(program, arguments);
        let mut environment = BTreeMap::new();
        for variable in &args.env {
            let value = std::env::var_os(variable);
            let value = value.with_context(|| format!("--env {variable}: it is not set here"))?;
            environment.insert(variable.into(), value);
        }
        command.environment = environment;
        return survey_command(&command).await.with_context(failed);
    }
    if let Some(url) = &args.url {
        let url = url.parse().with_context(|| format!("`{}` is not a URL", printable(url)))?;
        let address = ServerAddress::Http { url, headers: headers(&args.header)? };
        return survey_address(address).await.with_context(failed);
    }
    // With the variables that a run needs.
    let config = configuration::load(&args.out)?;
    tools::survey(name, configuration::server(&config, name)?).await
}

/// `NAME=TEXT`, where the text has its secret from the environment.
fn headers(written: &[String]) -> Result<HeaderMap> {
    let hint = "write --header 'authorization=Bearer ${TOKEN}', in single quotes";
    let mut headers = HeaderMap::new();
    for header in written {
        let (name, text) = files::header_parts(header)?;
        let name: HeaderName =
            name.parse().with_context(|| format!("`{}` is not a header's name", printable(name)))?;
        if !text.contains("${") {
            bail!("the value of header `{name}` is not from the environment\n  hint: {hint}");
        }
        let value = HeaderValue::from_str(&expanded(text)?);
        // The value is a secret: it is not repeated.
        let mut value = value.ok().with_context(|| format!("header `{name}` comes to no usable value"))?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

fn expanded(text: &str) -> Result<String> {
    let (mut whole, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("${") {
        let (variable, after) = after.split_once('}').context("a `${` in --header is not closed")?;
        let value = std::env::var(variable);
        let value = value
            .ok()
            .with_context(|| format!("`{}`, which --header names, is not set here", printable(variable)))?;
        whole.push_str(before);
        whole.push_str(&value);
        rest = after;
    }
    whole.push_str(rest);
    Ok(whole)
}
