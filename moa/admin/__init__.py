"""What `moa preset` answers: presets listed, examined and made; edited, removed and handed on."""
