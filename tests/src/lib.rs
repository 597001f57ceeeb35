//! What the end-to-end tests share: where the clients, tool servers and the browser driver are.
