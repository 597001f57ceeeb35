//! End to end: real clients, real tool servers, the real binary, a real browser.
//!
//! Every refusal looks into the tool server's own record for *not at all*, every run for *once*.

#![expect(clippy::indexing_slicing, reason = "indexing a JSON value gives null, not a panic")]

mod asking;
mod asking_back;
mod bad_messages;
mod bad_setup;
mod bridge;
mod callers;
mod callers_oauth;
mod cancelled;
mod clients_wait;
mod commands;
mod conformance;
mod corpus;
mod definitions;
mod demo_failures;
mod doorbells;
mod eras;
mod evidence;
mod example_agent;
mod example_copilot;
mod example_custom_rest;
mod example_dify;
mod example_github_action;
mod fake_gate;
mod faults;
mod gate_trouble;
mod http;
mod http_to_stdio;
mod init;
mod inspector;
mod kills;
mod later;
mod legs;
mod lifetime;
mod neighbours;
mod pipes;
mod python_package;
mod races;
mod reload;
mod request;
mod resuming;
mod reviewer;
mod revisions;
mod rules;
mod security;
mod setup;
mod stdio;
mod stdio_to_http;
mod strangers;
mod timeline;
mod told;
mod without_holdpoint;
mod wrap;
