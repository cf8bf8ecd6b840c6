// SPDX-License-Identifier: BSD-2-Clause
// What a VMM and the kernel say to each other about one vCPU. No number of a CPU vendor is in here.
//
// struct vcpu_page is one page of ordinary memory that the VMM creates and maps; the kernel keeps
// the guest's general registers in it, so no exit copies them. Only the thread that calls
// vcpu_run() may touch the page, and only while it is not inside that call. The kernel trusts
// nothing in it: what the VMM writes here can harm this guest only.
#pragma once
#include <stdint.h>
#include "kernel/abi/cpuid.h"

// Why vcpu_run() returned: its result. What there is to say of it stands in page->exit; of
// VM_EXIT_PIO and VM_EXIT_MMIO first of all in the second result, VM_PIO_* or VM_MMIO_*.
enum vm_exit_kind {
    VM_EXIT_EVENT = 1,  // the vCPU's event has bits (they are in `event.bits` and were cleared)
    VM_EXIT_PIO,        // IN, OUT; with VM_PIO_STRING INS, OUTS, and page->exit.pio
    VM_EXIT_MMIO,       // access to a guest-physical address that is not mapped that way
    VM_EXIT_INTR_ACK,   // the guest takes the INTR line's interrupt: run an acknowledge cycle
    VM_EXIT_EOI,        // end of interrupt for a level-triggered vector
    VM_EXIT_LAPIC_READ, // the answer to VM_ENTRY_LAPIC with a read
    VM_EXIT_SHUTDOWN,   // triple fault: a PC resets itself then
    VM_EXIT_INIT,       // an INIT: the next vcpu_run() waits for a start-up IPI, as the first one
                        // of a vCPU whose APIC id is not 0 does
    VM_EXIT_SIPI,       // which has come, with sipi.vector: the vCPU begins there
    VM_EXIT_HALTED,     // HLT with interrupts off: only an NMI ends that. vcpu_run() waits for one
    VM_EXIT_RDMSR,      // an MSR that the kernel does not hold; it and its value are in gpr
    VM_EXIT_WRMSR,
    VM_EXIT_DECODE,     // how long is the instruction at exit.rip, and which register does it name?
                        // The CPU has not said: answer with VM_ENTRY_DECODED
    VM_EXIT_TASK,       // a task switch by the CPU's own means, of which nothing is done yet
    VM_EXIT_KILLED,     // the kernel cannot go on with this guest; `killed` says why
};

// Of VM_EXIT_MMIO, in the second result.
#define VM_MMIO_READ    1u
#define VM_MMIO_WRITE   2u
#define VM_MMIO_EXEC    4u
#define VM_MMIO_GVA     0x80u  // exit.mmio.gva is valid; else it was no instruction's access
#define VM_MMIO_OPERAND 0x100u // with GVA: it is the instruction's own; else the guest's page
                               // tables themselves lie there
// With GVA: but exit.mmio.gva does not hold it, for the CPU has not said. It is where the
// instruction's operand lies, or the instruction itself. Such a CPU may also call a read what is a
// read and a write: the instruction says what is to be done. Far above the others, for between
// them stand bits of the CPU's own that the kernel passes on as they are.
#define VM_MMIO_FIND    0x80000000u

// Of VM_EXIT_PIO. OUT's value is in RAX.
#define VM_PIO_SIZE(word) (((word) & 7) + 1) // 1, 2 or 4 bytes
#define VM_PIO_IN     8u
#define VM_PIO_STRING 16u
#define VM_PIO_REP    32u
#define VM_PIO_PORT(word) ((uint16_t)((word) >> 16))

// A string's.
struct vm_exit_pio {
    uint8_t addr_size; // 2, 4 or 8 bytes of RCX, RSI, RDI are used; 0: the CPU has not said
    uint8_t segment;   // of the memory operand, as encoded: ES CS SS DS FS GS. The CPU has not
                       // looked at its type and limit yet
    uint64_t gva;      // linear address of the first element
};
#define VM_PIO_SEGMENT_UNKNOWN 0xFFu // the CPU has not said; gva is not valid then

struct vm_exit_mmio {
    uint64_t gpa;
    uint64_t gva; // linear address
};

// A task switch. The VMM does it, writes all registers and answers with VM_ENTRY_TASK, or raises a
// fault; what was being delivered through a task gate waits for that.
struct vm_exit_task {
    uint16_t selector; // of the new task's TSS
    uint8_t source, length; // enum vm_task_source; of the instruction that switches, if it is one
                       // and the CPU has said, else 0 or any number
    uint64_t event;    // VM_TASK_GATE: what was being delivered. Bits 0-7: vector. 8-10: 0 external
                       // interrupt, 2 NMI, 3 exception, 4 INT n, 5 INT1, 6 INT3 or INTO, which may
                       // also be exceptions with their vectors. 11: it has an error code, 32-63
};
enum vm_task_source { VM_TASK_CALL, VM_TASK_IRET, VM_TASK_JMP, VM_TASK_GATE };

struct vm_exit_killed {
    uint32_t code;      // enum vm_killed
    uint32_t reason;    // the CPU's own number, for the record only
    uint64_t detail[4]; // likewise
};
// MEMORY: of the quota nothing was left for a page table.
enum vm_killed {
    VM_KILLED_ENTRY = 1, VM_KILLED_UNKNOWN, VM_KILLED_MACHINE_CHECK, VM_KILLED_MEMORY
};

// Facts for decoding the instruction; filled for PIO (string), MMIO, DECODE and TASK.
struct vm_exit_cpu {
    uint64_t cr0, cr3, cr4, efer; // as the CPU has them
    uint64_t cs_base;
    uint8_t code_size; // 2, 4 or 8: the default operand width of the code segment (8: 64-bit mode)
    uint8_t cpl;
};

struct vm_exit {
    uint64_t rip, rflags, rsp;
    union {
        struct vm_exit_pio pio;
        struct vm_exit_mmio mmio;
        struct vm_exit_task task;
        struct vm_exit_killed killed;
        struct { uint64_t bits; } event;
        struct { uint32_t vector; } eoi, sipi;
        struct { uint32_t value; } lapic;
    };
    struct vm_exit_cpu cpu;
};

// What vcpu_run() shall do before it enters the guest again: its second argument.
#define VM_RUN_SKIP 15u // the instruction is done: advance RIP by so many bytes, if any
#define VM_RUN_NEXT 16u // the instruction of VM_EXIT_PIO, RDMSR, WRMSR is done: step over it
#define VM_RUN_PAGE 32u // and what page->entry.flags say; the kernel clears them
#define VM_RUN_ALL  63u

#define VM_ENTRY_INTR   2u  // deliver intr_vector: the answer to INTR_ACK
#define VM_ENTRY_LAPIC  4u  // do this access to the local APIC (see lapic)
#define VM_ENTRY_FAULT  8u  // raise this exception (see fault); RIP stays
#define VM_ENTRY_RFLAGS 16u // set RFLAGS' status flags to `rflags` (an emulated CMP, AND, ...)
#define VM_ENTRY_RSP    32u // set RSP to `rsp` (an emulated PUSH, POP)
#define VM_ENTRY_DECODED 64u // `decoded` answers VM_EXIT_DECODE; the kernel does the instruction
// vcpu_sregs() has written the state of another task: whatever was being delivered has been, and
// what an instruction holds back is over. With VM_ENTRY_FAULT the switch ends in that fault, in the
// new task.
#define VM_ENTRY_TASK 128u

struct vm_entry {
    uint32_t flags;
    uint8_t intr_vector;
    uint8_t reserved[3];
    struct {
        uint16_t offset; // from the APIC page's start; 4-byte registers, 16-byte aligned
        uint8_t write;
        uint8_t reserved;
        uint32_t value;
    } lapic;
    struct {
        uint8_t vector;
        uint8_t has_error;
        uint16_t reserved;
        uint32_t error;
        uint64_t address; // CR2 for a page fault
    } fault;
    uint64_t rflags, rsp;
    struct {
        uint8_t length; // 1 to 15 bytes
        uint8_t reg;    // enum vcpu_gpr: the general register that the instruction names, first of
                        // all a MOV's from or to a control register; 0 where there is none
        uint8_t reserved[6];
    } decoded;
};

struct vm_segment {
    uint64_t base;
    uint32_t limit;
    uint16_t selector;
    uint16_t access; // bits 0-7: descriptor bits 40-47; 12-15: G, D/B, L, AVL as descriptor 55-52
                     // (bit 12 AVL, 13 L, 14 D/B, 15 G); bit 8: unusable
};

// Everything that is not a general register. Read and written as a whole by vcpu_sregs().
struct vcpu_sregs {
    uint64_t rip, rflags, rsp;
    uint64_t cr0, cr2, cr3, cr4, efer, dr6, dr7, pdpte[4]; // the last: what CR3 has loaded with PAE
                                // paging, where the CPU does not look at memory for each use
    struct vm_segment cs, ss, ds, es, fs, gs, ldtr, tr;
    uint64_t gdtr_base, idtr_base;
    uint32_t gdtr_limit, idtr_limit;
};

// Indices into gpr: the numbers of the instruction encoding.
enum vcpu_gpr {
    GPR_RAX, GPR_RCX, GPR_RDX, GPR_RBX, GPR_RSP, GPR_RBP, GPR_RSI, GPR_RDI,
    GPR_R8, GPR_R9, GPR_R10, GPR_R11, GPR_R12, GPR_R13, GPR_R14, GPR_R15,
};

// The guest's vector registers and x87 state, as XSAVE lays them out in its standard form. Read and
// written as a whole by vcpu_sregs(), too; components that the guest has not enabled are not
// written, nor the upper half of MXCSR.
#define VCPU_FPU_SIZE 2816

struct vcpu_page {
    uint64_t gpr[16]; // gpr[GPR_RSP] is not used: see exit.rsp and VM_ENTRY_RSP
    struct vm_exit exit;
    struct vm_entry entry;
    struct vcpu_sregs sregs;
    // 1: its thread, in ring 3, holds a lock for which others of its VM may wait: when its budget
    // ends now, it goes on for a moment, once, and pays for it with the next refill.
    uint32_t holds_lock;
    union {
        struct cpuid_table cpuid; // read by vcpu_create() only
        uint8_t fpu[VCPU_FPU_SIZE];
    };
};
_Static_assert(sizeof(struct vcpu_page) <= 4096, "one page");

// Hypercalls (VMCALL/VMMCALL): number in RAX, result in RAX; outside of 64-bit mode in EAX. Others
// give -1.
#define HYPERCALL_NULL  0 // result 0
#define HYPERCALL_YIELD 1 // let another vCPU of equal priority run; result 0; not from user mode
