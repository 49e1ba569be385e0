// Package candidate finds the version that is to replace one of a service: it reads an
// artifact into the store, asks the policy of the image, and loads and checks the bundle. It
// says what a swap would change, and which services differ from the image.
//
// It waits for disks and knows nothing of running services: it works in the goroutine of the
// client that has ordered a swap. Versions are in services/versions.
package candidate
