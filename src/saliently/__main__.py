from saliently.cli import main

main()
