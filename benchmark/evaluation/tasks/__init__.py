"""One file a task: benchmark.core.tasks says what a task is, docs/add-a-task.md how to add one."""
