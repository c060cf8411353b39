"""The face that hosts Function apps: their settings, workers, HTTP triggers and keys.

Composed in this order: settings (``read_local_settings``, ``read_host_json``), a started
``WorkerPool``, its ``Catalogue``, a client over ``catalogue.orchestrators``, the management API
over that client, ``pool.answer_clients`` with it, and last ``HttpTriggers``, mounted behind it.
"""
