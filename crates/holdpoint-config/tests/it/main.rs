//! Through the public doors: `load`, `check`, `PolicySet`.

mod shipped;
