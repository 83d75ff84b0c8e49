"""Files of tests by the time that they take: what is begun last must be short.

A file is run by one process (`--dist loadfile`). The first needs the demo model and the second does not: while one
process makes the model, the other has something to do. Those that need it, too, come later.
"""

FILES = """
    docs_walkthroughs banks_local_copies
    store_writer banks_transfer images_index store_server_trouble ingest_foreign_rows ingest_kills store_server_proof
    banks_retelling images_finding ingest_pipeline store_server_leaving cli_tampered store_writers images_words_again
    store_vectors cli store_manifest ingest_tampering ingest_resume query_lenses models_probing main_job store_embedded
    query_baselines store_claiming store_server_protocol cli_early store_leftovers cli_local_copy query_pipeline
    ingest_centring cli_evaluate demo_model docs_library store_server store_server_moods cli_transfer models_families
    show_report_browser serve_banks serve_explorer cli_banks store_congruence ingest_importing ingest_forecast
    store_counts evaluate_reading banks_of_model
""".split()
PLACES = {f"test_{name}.py": place for place, name in enumerate(FILES)}


def by_length(path):
    """Sorts a file's tests: its place, or after all that have one."""
    return PLACES.get(path.name, len(PLACES))
