package main

type ctlCmd struct {
	Keys keysCmd `cmd:"" help:"Make the certificates of a gate and of its clients."`
}
