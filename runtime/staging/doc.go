// Package staging reads a bundle artifact, or a plain container image, into an empty
// folder. It trusts nothing of the artifact.
package staging
