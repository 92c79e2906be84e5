//go:build !linux && !darwin

package state

import "errors"

func limitFiles(uint64) error { return errors.ErrUnsupported }
