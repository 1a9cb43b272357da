"""Google Cloud Dataflow: options of a job, its graph, its submission."""
