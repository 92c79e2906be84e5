package cli

// chosen reports whether a message of that ID is chosen.
func (o *options) chosen(id string) bool { return o.ids == nil || o.ids[id] }
