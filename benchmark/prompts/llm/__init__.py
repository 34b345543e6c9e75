"""The LLM aligner: one fixed prompt, three back ends, every answer checked, nothing sent twice."""
