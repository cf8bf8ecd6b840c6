// SPDX-License-Identifier: BSD-2-Clause
//
// The other processors of a guest: started by INIT and start-up IPIs, each into 64-bit mode.
//
// A processor is named by its APIC id, below SMP_MAX. Of its own it has a stack, a GDT with a TSS,
// and the stacks on which traps enter; the IDT, the handlers and the page tables are everybody's.
// It begins with the starter's CR0, CR3, CR4, EFER and XCR0, and with its APIC enabled in the
// starter's mode, TPR 0, LVTs masked.
//
// Entries and called functions run with interrupts off. They may switch them on, and may halt. They
// leave to the starter what belongs to one processor only: libc, check(), TRY() and rdmsr_safe(),
// window_map(), the I/O APIC, the timer of timer.h. Handlers (trap.h) may run on several at once.
//
// Only the boot processor calls the functions below, but for smp_id() and smp_serve(). Who waits
// gives up after SMP_LIMIT_NS.

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guests/lib/layout.h"

#define SMP_LIMIT_NS 5000000000ull
// The page that holds the start code, from the first start on: nothing else may lie there.
#define SMP_PAGE 0x8000u

typedef void smp_entry(unsigned int id);
typedef void smp_function(void *argument);

// How many processors the machine has: those that ACPI's MADT lists as enabled; 1 if there is none.
unsigned int smp_count(void);

// The APIC id of the processor that this runs on. No exit, no access to the APIC.
unsigned int smp_id(void);

// Starts a processor, whatever it does: INIT, a start-up IPI, another one if that is not enough.
// Returns when it is about to call entry(id); false: it did not come. When entry returns, it halts
// with interrupts off.
bool smp_start(unsigned int id, smp_entry *entry);

// Starts all others; returns how many came. They have the ids 1 to smp_count() - 1.
unsigned int smp_start_all(smp_entry *entry);

// The parts of smp_start(), for who sends the IPIs himself. smp_arm(): what the processor does when
// it comes through the start code. smp_place(): copies that to any page below 1 MiB and returns the
// vector that leads there. smp_arrived(): waits for one that was armed; true: it is at its entry.
void smp_arm(unsigned int id, smp_entry *entry);
uint8_t smp_place(uint32_t page);
bool smp_arrived(unsigned int id);

// An entry that does what smp_post() says, and spins with PAUSE in between.
void smp_serve(unsigned int id);

// Gives a serving processor, which has nothing to do, a function. smp_wait(): waits until it is
// done; false: it was not. smp_call(): both, and ends the guest if it was not done.
void smp_post(unsigned int id, smp_function *function, void *argument);
bool smp_wait(unsigned int id);
void smp_call(unsigned int id, smp_function *function, void *argument);
