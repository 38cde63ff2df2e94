"""The narrow waist between drivers and the gateway: ids, events, commands, drivers, call legs.

Nothing here knows MQTT, SIP or AT; nothing here does I/O.
"""
