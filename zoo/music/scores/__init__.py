"""The floor of notes: data, systems, samples and metrics of piano rolls."""
