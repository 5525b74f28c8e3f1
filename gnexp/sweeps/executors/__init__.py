"""Where a sweep's trials run."""

import os

# Ray reads these when it is imported. Without the last one it retries forever a trial that fits into no node's memory.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "0")
os.environ.setdefault("RAY_task_oom_retries", "3")
