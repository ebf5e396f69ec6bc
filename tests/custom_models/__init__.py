"""Small models as users write them: one for each way in which rotary code was found outside transformers.

Each is a pair ``configuration_<name>.py`` and ``modeling_<name>.py`` that needs nothing but transformers and
`layers`, so that it can be copied into a checkpoint's directory for ``trust_remote_code``, or be imported as
classes of a user's own. Each is written for one release, in its style; `support.custom` says for which.
"""
