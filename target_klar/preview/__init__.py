"""`--preview`: a load of the first lines of the input whose batches are discarded, and what it shows of them."""
