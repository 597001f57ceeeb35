-- A thread is decided once, so it has one hold: a second one would run on the decision about the first.
CREATE UNIQUE INDEX holds_of_thread ON holds (task_id, thread_id);
