// Package debug runs tools of another bundle beside the container of a service, for clients of the
// control API, which have them as they have programs of package execute: package toolbox has the tools.
//
// Without a bundle that is named, they are those of the image's rescue shell. containerd has no part in it:
// one that does not answer can be looked into as well.
package debug
