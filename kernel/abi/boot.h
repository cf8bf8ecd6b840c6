// SPDX-License-Identifier: BSD-2-Clause
// What the kernel tells the manager, the first process. One page, mapped read-only at BOOT_INFO_VA;
// RDI holds that address at the manager's entry point. Its stack is STACK_TOP downwards.
#pragma once
#include <stdint.h>
#include "kernel/abi/syscall.h"

#define BOOT_INFO_VA    0x200000ull
#define BOOT_IMAGE_VA   0x400000ull
#define BOOT_STACK_TOP  0x7fff0000ull
#define BOOT_STACK_SIZE 0x20000ull
#define BOOT_MODULE_MAX 64
#define BOOT_NAME_MAX   264 // a role, its colon, the longest file name, NUL
#define BOOT_MAGIC      0x646165686b6c7562ull // "bulkhead"

// The manager's file is what its memory holds from BOOT_IMAGE_VA on, without the zeros at the end,
// and begins with this (vmm/manager/manager.ld).
struct boot_image {
    uint64_t magic;  // BOOT_MAGIC
    uint64_t entry;
    uint64_t end[3]; // where its code, read-only data and data end, in whole pages
};

// A program's system calls are instructions of two bytes: INT 9 as its compiler makes them, for
// which every CPU has a gate. Where SYSENTER does in 64-bit mode, whoever loads the program puts
// that into its code, for it is faster (libc/calls.h). The manager's calls stay as they are.
#define CALL_INSN     0x09cd // CD 09
#define CALL_SYSENTER 0x340f // 0F 34

// Slots of the manager's handle table that the kernel fills. Modules follow from
// BOOT_HANDLE_MODULE.
enum boot_handle {
    BOOT_HANDLE_SYSTEM = 2, // authority for system_*
    BOOT_HANDLE_PORTS,      // ioports: all that there are
    BOOT_HANDLE_COM1_IRQ,   // and COM3's
    BOOT_HANDLE_COM2_IRQ,   // and COM4's
    BOOT_HANDLE_SC,         // the scheduling context that it starts on
    BOOT_HANDLE_SCREEN,     // if there is one: memory with what struct boot_screen describes
    BOOT_HANDLE_MODULE = 16,
};

// The CPU's own faults, by the names that `assume=` takes.
#define CPU_FAULTS(X)                                                                              \
    X(meltdown) X(l1tf) X(mds) X(taa) X(rfds) X(v1) X(v2) X(bhi) X(swapgs) X(itlb) X(buslock)      \
    X(smt) X(hle)

enum cpu_fault {
#define X(name) FAULT_##name,
    CPU_FAULTS(X)
#undef X
    FAULT_COUNT
};

struct cpu_faults {      // a bit each
    uint32_t there;      // the CPU has it, or is treated as if it had
    uint32_t open;       // of these: nothing is done about it
    uint32_t asked;      // by `assume`
    uint32_t retpolines; // not a mask: the kernel has them
};

struct boot_module {
    char name[BOOT_NAME_MAX]; // as in grub.cfg: "bin:vmm", "config:demo.conf", "image:vmlinuz"
    handle_t handle;
    uint32_t reserved;
    uint64_t bytes; // the file's length; the handle's memory is rounded up to pages
};

// What the loader left on: VGA's text mode, or pixels of 32 bits. `width` 0: nothing.
struct boot_screen {
    uint64_t hpa;        // page-aligned
    uint32_t pitch;      // bytes from one row to the next
    uint32_t width, height; // in pixels; of text in characters
    uint8_t text;        // 1: a character and its VGA attribute, a byte each
    uint8_t colour[3];   // else: where in a pixel the bits of red, green and blue begin, 8 each
};

#define BOOT_OPTIONS_MAX 256

struct boot_info {
    uint64_t magic;
    uint64_t tsc_hz;      // measured
    uint64_t entry_tsc;   // TSC at the kernel's entry
    uint8_t no_rtc;       // 1: the firmware says that there is no MC146818
    uint8_t apic_page;    // 1: the CPU does accesses to a guest's local APIC, if a page is mapped
                          // where that is before the VM gets its vCPU
    struct cpu_faults faults;
    uint32_t cores;
    uint32_t modules;
    uint64_t ram;          // bytes that the firmware gives as usable, modules among them
    struct boot_screen screen;
    uint64_t call_insn;   // what makes a system call on this CPU the fastest: one of CALL_*
    uint64_t fast_strings; // 1: REP MOVS and STOS are, as the host's IA32_MISC_ENABLE says
    // What the kernel was told: the words of its command line, and WORD of each module
    // "option:WORD", with blanks between. Cut if there is more.
    char options[BOOT_OPTIONS_MAX];
    struct boot_module module[BOOT_MODULE_MAX];
};
#define BOOT_INFO_SIZE 20480ull
_Static_assert(sizeof(struct boot_info) <= BOOT_INFO_SIZE, "fits its mapping");
