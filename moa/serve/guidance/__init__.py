"""Guidance in requests that a client sends: where it stands, what finds the place again, and which thoughts may go back.

`pieces` and the wires (`messages`, `responses`, `chat`) read and change raw bodies; `anchors` knows replies again; `path` puts a request's
replies and the rows of the ledger's database (`rows`) together; `placing` makes the body that goes out.
"""
