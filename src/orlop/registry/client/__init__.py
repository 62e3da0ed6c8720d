"""The client of registries.

A `client.RegistryClient` lasts as long as one command (a pull, a push). It gives a `repository.Repository` for a
reference, and that tries the *endpoints* of its registry (`mirrors`): mirrors first, a plain one only where that is
allowed. Each endpoint is a `registry.Registry`: it adds authorization (`auth`) to requests and repeats what a broken
connection or a busy server has spoilt. Below it, `transport` makes single requests and follows redirects.

A registry is not believed: every body is bounded, addresses that it names are checked, and credentials go to nobody
else than itself and the token server that it names. Errors are `orlop.errors` with dockerd's texts (`failures`).

`config`, `credentials`, `challenges`, `mirrors` and `certificates` are light; the others load aiohttp.
"""
