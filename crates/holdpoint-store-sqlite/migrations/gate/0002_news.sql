-- What an agent's feed reads: few lines of a long log, by agent and in order.
CREATE INDEX log_news ON log (agent_id, seq, thread_id)
WHERE thread_id IS NOT NULL AND kind IN ('approved', 'rejected', 'expired', 'changes_requested', 'revised');
