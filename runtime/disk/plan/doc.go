// Package plan decides what is done with the disks of a machine so that a file system, a swap
// area or an encrypted volume is found, made, checked, grown and mounted: Next is a function
// without side effects of what is wanted and of what the disks contain. Package disk observes
// the disks, asks Next, does what it says, and repeats that until there is nothing to do. So a
// boot continues whatever an earlier one began, at whichever point its power was cut.
//
// A device with content is never formatted. What is being formatted has a Mark, which is written
// while the device is empty, and removed when its file system is complete: while it is there,
// nothing can have been stored. An encrypted volume has FreshSubsystem in its header meanwhile,
// because what is in it cannot be told from noise.
package plan
