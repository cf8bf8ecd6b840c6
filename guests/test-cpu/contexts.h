// SPDX-License-Identifier: BSD-2-Clause
//
// What contexts.c and contexts.S share.

#pragma once

// contexts_save: how a context's registers are stored. What is higher is better, and is taken when
// CPUID offers it.
#define CONTEXTS_XSAVE    0
#define CONTEXTS_XSAVEOPT 1
#define CONTEXTS_XSAVEC   2

#define CONTEXTS_SPIN 300 // instructions of a turn, about
